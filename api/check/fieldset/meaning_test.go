package fieldset

import "testing"

// TestNamesThatClientsForge: what apps and frameworks believe of a proxy is removed from untrusted peers, and carries no claim.
func TestNamesThatClientsForge(t *testing.T) {
	removed, client := New(Forwarding()...), New(Client()...)
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Uri",
		"X-Forwarded-Ssl", "X-Real-IP", "True-Client-IP", "Client-IP", "X-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP", "Fly-Client-IP",
		"X-Host", "X-Original-Host", "X-HTTP-Host-Override", "X-Remote-Addr", "X-Scheme", "X-URL-Scheme", "Front-End-Https", "X-Client-Cert",
		"SSL-Client-Verify", "X-SSL-Client-S-DN", "X-ARR-ClientCert", "X-ARR-SSL", "X-Azure-ClientIP", "X-Envoy-External-Address",
	} {
		if !removed.Has(name) || !client.Has(name) {
			t.Errorf("%s: removed %v, describes the client %v", name, removed.Has(name), client.Has(name))
		}
	}
}

// TestNamesThatReplaceTheRequest: what a framework takes in place of the method, the path or the host is Overriding.
func TestNamesThatReplaceTheRequest(t *testing.T) {
	names := New(Overriding()...)
	for _, name := range []string{
		"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Original-Method",
		"X-Accel-Redirect", "X-Sendfile", "X-Middleware-Subrequest", "Script-Name", "Path-Info", "Proxy",
	} {
		if !names.Has(name) {
			t.Errorf("%s is not in Overriding", name)
		}
	}
	for _, name := range []string{"X-Auth-Subject", "X-Request-ID", "X-Forwarded-User", "X-Amzn-Trace-Id"} {
		if names.Has(name) {
			t.Errorf("%s is in Overriding", name)
		}
	}
}
