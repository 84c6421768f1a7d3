package fieldset

// HTTP returns the request headers with which HTTP, browsers and proxies control a request, in addition to HopByHop: framing,
// content, conditions, negotiation, caching, fetch metadata and WebSocket (RFC 9110, RFC 9111, RFC 6455, RFC 4918).
func HTTP() []string {
	return []string{
		"Host", "Content-*", "Date", "Expect", "Max-Forwards", "Via", "From", "Range", "If-*", "Accept", "Accept-*", "Cache-Control", "Pragma",
		"Warning", "Age", "Origin", "Referer", "User-Agent", "Set-Cookie*", "WWW-Authenticate", "Authentication-*", "Sec-*", "Access-Control-*",
		"Early-Data", "Priority", "Alt-Used", "Upgrade-Insecure-Requests", "DNT", "Depth", "Destination", "Overwrite", "Lock-Token", "Timeout",
		"Traceparent", "Tracestate", "Baggage", "Request-Range", "Last-Event-ID",
	}
}

// Overriding returns the request headers with which frameworks, servers and CDNs replace something of the request that the sidecar
// has checked: its method, its path, its scheme, the middleware that runs (CVE-2025-29927), the file that is sent
// (CVE-2025-61780), or the proxy of the app's own requests (CVE-2016-5385).
func Overriding() []string {
	return []string{
		"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-MethodOverride", "X-Original-URL", "X-Original-URI", "X-Original-Path",
		"X-Original-Method", "X-Original-Query", "X-Rewrite-*", "X-Request-URI", "Script-Name", "Path-Info", "X-Script-Name", "X-Accel-*",
		"X-Sendfile*", "X-Reproxy-*", "X-Middleware-*", "Proxy", "Proxy-*", "HTTPS",
	}
}

// Client returns those of Forwarding whose value describes the client's connection. The sidecar, apps or proxies act on them.
func Client() []string {
	return []string{
		"Forwarded", "Forwarded-*", "X-Forwarded", "X-Forwarded-For*", "X-Forwarded-By", "X-Forwarded-Client-*", "X-Forwarded-Host*",
		"X-Forwarded-Method", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Proto*", "X-Forwarded-Protocol", "X-Forwarded-Scheme",
		"X-Forwarded-Server", "X-Forwarded-Ssl", "X-Forwarded-Tls-*", "X-Forwarded-Uri", "X-Forwarded-Url",
		"X-Original-Forwarded-For", "X-Original-Host", "X-Host", "X-HTTP-Host-Override", "X-Real-IP", "True-Client-IP", "Client-IP",
		"X-Client-IP", "X-ARR-*",
		"X-Cluster-Client-IP", "X-ProxyUser-IP", "X-Remote-Addr", "X-Remote-Host", "X-Remote-IP", "X-Remote-Port", "CF-Connecting-*", "CF-IPCountry",
		"CF-Ray", "CF-Visitor", "CF-Worker", "CF-EW-Via", "CF-Pseudo-IPv4", "Fastly-Client-IP", "Fly-Client-IP", "X-Azure-ClientIP", "X-Azure-SocketIP",
		"X-Azure-FDID", "X-Appengine-*", "X-Envoy-External-Address", "X-Envoy-Internal", "X-Envoy-Original-*", "X-Envoy-Peer-*", "X-NF-Client-Connection-IP",
		"X-Scheme", "X-URL-Scheme", "X-Script-Name", "Front-End-Https", "SSL-Client-*", "X-SSL-Client*", "X-SSL-Cert*", "X-Client-Cert*",
	}
}

// ProxyIdentity returns those of Forwarding in which authenticating proxies name the user. Apps that were written for such a proxy
// read them, so that a policy may set them from a verified claim.
func ProxyIdentity() []string {
	return []string{
		"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Roles",
		"X-Remote-User", "X-Remote-Name", "X-Remote-Email", "X-Remote-Group", "X-Remote-Groups", "CF-Access-Authenticated-User-Email",
	}
}
