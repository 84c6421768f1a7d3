package upstream

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
)

// announced returns the trailer fields that go to the app, without values yet: those that the client announced (RFC 9110
// §6.6.2) and that are still in r.Trailer, so an earlier stage forbids one by deleting it there. A field that the header
// has, a forwarding or a reserved field never passes as a trailer: an app that merges trailers into its headers (RFC 9110
// §6.5.1) would take the client's word for the sidecar's.
func announced(r *http.Request) http.Header {
	var out http.Header
	for name := range r.Trailer {
		if _, taken := r.Header[name]; taken || !mayTrail(name) {
			continue
		}
		if out == nil {
			out = http.Header{}
		}
		out[name] = nil
	}
	return out
}

// mayTrail refuses fields that frame, route, authenticate or describe a message, RFC 9110 §6.5.1.
func mayTrail(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"x-forwarded-", "postern-", "content-", "if-", "sec-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	for _, hop := range fieldset.HopByHop() {
		if strings.EqualFold(hop, name) {
			return false
		}
	}
	switch name {
	case "forwarded", "x-real-ip", "via", "host", "authorization", "cookie", "set-cookie", "www-authenticate", "cache-control",
		"expect", "max-forwards", "pragma", "range", "age", "date", "expires", "location", "retry-after", "vary", "warning":
		return false
	}
	return true
}

// requestBody is the client's body on its way to the app.
type requestBody struct {
	io.ReadCloser
	in       *http.Request
	trailer  http.Header
	exchange *exchange
}

// Read also carries the trailer over at the end: the server fills in.Trailer only then, and the transport reads its own
// request's map right after.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		for name := range b.trailer {
			b.trailer[name] = b.in.Trailer[name]
		}
	default:
		b.exchange.bodyErr.CompareAndSwap(nil, &err)
	}
	return n, err
}

// responseBody is the app's body on its way to the client.
type responseBody struct {
	io.ReadCloser
	res      *http.Response
	exchange *exchange
}

// Read removes the sidecar's own names from the trailer as soon as that is known, and remembers why the body broke off.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		removeReserved(b.res.Trailer)
	default:
		b.exchange.readErr = fmt.Errorf("reading the app's response: %w", err)
	}
	return n, err
}
