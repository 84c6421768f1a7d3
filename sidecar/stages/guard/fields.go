package guard

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// checkFields refuses fields that contradict the protocol.
func checkFields(r *http.Request) *httperr.Error {
	if hosts, ok := r.Header["Host"]; ok {
		// HTTP/1.1 moves Host out of the header; HTTP/2 leaves it in addition to :authority (RFC 9113 §8.3.1).
		if len(hosts) != 1 || !strings.EqualFold(hosts[0], r.Host) {
			return refuse("bad-host", "The request names more than one host.", nil)
		}
		delete(r.Header, "Host")
	}
	if strings.ContainsAny(r.Host, ", /?#@\\") {
		return refuse("bad-host", "The host is malformed.", nil) // RFC 9110 §7.2: uri-host with an optional port
	}
	if r.ProtoMajor >= 2 {
		return checkHTTP2(r.Header)
	}
	return nil
}

// connectionFields have no meaning in HTTP/2 and make a request malformed (RFC 9113 §8.2.2). Passed on to HTTP/1.1,
// they allow request smuggling.
var connectionFields = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

func checkHTTP2(h http.Header) *httperr.Error {
	for _, name := range connectionFields {
		if _, ok := h[name]; ok {
			return refuse("connection-header", "HTTP/2 does not allow connection-specific headers.", nil)
		}
	}
	switch lengths := h["Content-Length"]; {
	case len(lengths) > 1:
		// net/http takes the first (RFC 9110 §8.6).
		return refuse("duplicate-content-length", "The request has several Content-Length fields.", nil)
	case len(lengths) == 1 && !isDecimal(lengths[0]):
		return refuse("malformed-content-length", "The Content-Length is not one decimal number.", nil)
	}
	for _, te := range h["Te"] {
		if !strings.EqualFold(strings.TrimSpace(te), "trailers") {
			return refuse("connection-header", "HTTP/2 allows TE only with the value trailers.", nil)
		}
	}
	return nil
}

func isDecimal(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
