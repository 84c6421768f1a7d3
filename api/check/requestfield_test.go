package check

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check/fieldset"
)

func TestRequestFields(t *testing.T) {
	tests := map[string]struct{ token, claim bool }{
		"Authorization": {token: true}, "X-Api-Token": {true, true}, "X-Auth-Subject": {true, true},
		// Gateways send tokens in these.
		"Cf-Access-Jwt-Assertion": {token: true}, "X-Forwarded-Access-Token": {token: true}, "X-Forwarded-Jwt": {token: true},
		"X-Azure-Token": {token: true}, "X-Envoy-Jwt": {token: true}, "X-Amzn-Oidc-Data": {true, true}, "X-Goog-Iap-Jwt-Assertion": {true, true},
		"Sec-WebSocket-Protocol": {token: true},
		// Authenticating proxies name the user in these.
		"X-Forwarded-User": {true, true}, "X-Forwarded-Email": {true, true}, "X-Forwarded-Groups": {true, true},
		"X-Forwarded-Preferred-Username": {true, true}, "X-Remote-User": {true, true}, "Remote-User": {true, true},

		"Host": {}, "Content-Length": {}, "Transfer-Encoding": {}, "Content-Type": {}, "Connection": {}, "Keep-Alive": {}, "TE": {}, "Trailer": {},
		"Upgrade": {}, "HTTP2-Settings": {}, "Proxy-Authorization": {}, "Proxy-Connection": {}, "Proxy": {}, "Expect": {}, "Range": {}, "If-Match": {},
		"Origin": {}, "Referer": {}, "Via": {}, "Date": {}, "Accept": {}, "Accept-Encoding": {}, "Cache-Control": {}, "Cookie": {}, "User-Agent": {},
		"Sec-Fetch-Site": {}, "Sec-WebSocket-Key": {}, "Access-Control-Request-Method": {}, "Destination": {}, "Max-Forwards": {},
		"X-Original-URL": {}, "X-Rewrite-URL": {}, "X-HTTP-Method-Override": {}, "X-HTTP-Method": {}, "X-Method-Override": {}, "X-Original-Method": {},
		"Script-Name": {}, "Path-Info": {}, "X-Accel-Redirect": {}, "X-Sendfile-Type": {}, "X-Middleware-Subrequest": {},
		"Forwarded": {}, "X-Forwarded-For": {}, "X-Forwarded-Host": {}, "X-Forwarded-Proto": {}, "X-Forwarded-Port": {}, "X-Forwarded-Prefix": {},
		"X-Forwarded-Client-Cert": {}, "X-Real-IP": {}, "True-Client-IP": {}, "CF-Connecting-IP": {}, "X-Client-IP": {}, "X-Envoy-External-Address": {},
		"SSL-Client-Verify": {}, "X-SSL-Client-Cert": {}, "X-Client-Cert": {}, "Front-End-Https": {}, "X-Azure-ClientIP": {}, "X-Remote-Addr": {},
		"Postern-Subject": {}, "X-Postern-Token": {}, "X_Token": {}, "X.Token": {}, "": {}, "a b": {}, "X-*": {}, "X-A\r\nB": {},
		strings.Repeat("X", maxRequestField+1): {},
	}
	for name, want := range tests {
		for _, name := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if err := TokenHeader(name); (err == nil) != want.token {
				t.Errorf("a token in %q: %v; want allowed: %v", name, err, want.token)
			}
			if err := IdentityFieldName(name); (err == nil) != want.claim {
				t.Errorf("a claim in %q: %v; want allowed: %v", name, err, want.claim)
			} else if err != nil && !strings.Contains(err.Error(), "; ") {
				t.Errorf("the refusal of %q has no remedy: %v", name, err)
			}
		}
	}
}

// TestHeadersOfPeersCarryNoClaim: what the sidecar takes for a statement of a proxy, a policy cannot set from a claim.
func TestHeadersOfPeersCarryNoClaim(t *testing.T) {
	identity := fieldset.New(fieldset.ProxyIdentity()...)
	for _, list := range [][]string{fieldset.HopByHop(), fieldset.HTTP(), fieldset.Overriding(), fieldset.Client(), fieldset.Forwarding(), fieldset.EndToEnd()} {
		for _, name := range list {
			name = strings.ReplaceAll(name, "*", "Q")
			application := strings.Contains("X-Request-ID X-Correlation-ID", name)
			if err := IdentityFieldName(name); err == nil && !identity.Has(name) && !application {
				t.Errorf("%s can carry a claim", name)
			}
		}
	}
	for _, name := range fieldset.Client() {
		if !forwarding.Has(strings.ReplaceAll(name, "*", "")) {
			t.Errorf("%s is not among the headers that are removed from unknown peers", name)
		}
	}
}
