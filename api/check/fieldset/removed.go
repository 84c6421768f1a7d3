package fieldset

// HopByHop returns the headers that belong to one connection (RFC 9110 §7.6.1), whether or not Connection names them. RFC 7540
// §3.2.1 adds HTTP2-Settings.
func HopByHop() []string {
	return []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Http2-Settings",
	}
}

// Reserved returns the headers that only the sidecar sets, those with which a client can replace the path that the rules matched in
// some servers and frameworks (CVE-2018-14773; gunicorn removes SCRIPT_NAME from the path, benoitc/gunicorn#2650), and Proxy, which
// CGI apps take for the proxy of their own requests (CVE-2016-5385).
func Reserved() []string {
	return []string{"X-Postern-*", "Postern-*", "X-Original-URL", "X-Rewrite-URL", "Script-Name", "Path-Info", "Proxy"}
}

// Forwarding returns the headers in which proxies describe the client to the app. They are removed if the peer is not a trusted
// proxy, because a client could put false values in them.
func Forwarding() []string {
	return []string{
		"Forwarded", "X-Forwarded", "X-Forwarded-*", "Forwarded-*", "X-Original-Forwarded-For", "X-Original-Host", "X-Host", "X-HTTP-Host-Override", "X-ARR-*",
		"X-Real-IP", "True-Client-IP", "Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-ProxyUser-IP", "X-Remote-*",
		"CF-*", "Fastly-Client-IP", "Fly-Client-IP", "X-Azure-*", "X-Appengine-*", "X-Envoy-*", "X-NF-Client-Connection-IP",
		"X-Scheme", "X-URL-Scheme", "X-Script-Name", "Front-End-Https", "SSL-Client-*", "X-SSL-*", "X-Client-Cert*",
	}
}

// EndToEnd returns the headers that a client may send and that the sidecar or an app relies on. A client must not remove them
// by naming them in Connection (RFC 9110 §7.6.1 forbids to name fields that are meant for the recipient), and must not send
// them as trailers (§6.5.1). A name that ends in * is a prefix, as in New.
func EndToEnd() []string {
	return append([]string{
		"Authorization", "Cookie", "Host", "Origin", "Referer", "Cache-Control", "Content-*", "Accept", "Accept-*", "If-*", "Range",
		"Expect", "User-Agent", "Via", "Date", "X-Request-ID", "X-Correlation-ID", "Traceparent", "Tracestate", "Baggage",
		"Access-Control-*", "Sec-*", "Postern-*", "X-Postern-*",
	}, Forwarding()...)
}
