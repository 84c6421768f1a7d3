package upstream

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/conn/http1/wire"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// announced returns the trailer fields that are sent to the app, still without values: those that the client
// announced (RFC 9110 §6.6.2) and that are still in r.Trailer. An earlier stage removes a trailer field by deleting
// it there. A field that is in the header, a forwarding field or a reserved field is never sent as a trailer: an app
// that merges trailers into its headers (RFC 9110 §6.5.1) would trust the client's value as the sidecar's.
func announced(r *http.Request) http.Header {
	var out http.Header
	for name := range r.Trailer {
		if _, taken := r.Header[name]; taken || !wire.IsName(name) || !mayTrail(name) {
			continue
		}
		if out == nil {
			out = http.Header{}
		}
		out[name] = nil
	}
	return out
}

// mayTrail returns false for fields that frame, route, authenticate or describe a message (RFC 9110 §6.5.1).
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

// mayIgnoreBody reports whether r has a body that the app perhaps does not read, because the method gives it no meaning (RFC 9110
// §9.3.1). An app that keeps the connection open would then read the body as the next request, which no rule has matched. Such a
// request says Connection: close.
func mayIgnoreBody(r *http.Request) bool {
	if r.ContentLength == 0 {
		return false
	}
	return r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch
}

// maxWhole is the longest body that is sent in one piece with the head, in bytes. An app that reads nothing of it can respond nevertheless: the
// socket takes this much.
const maxWhole = 16 << 10

// hasArrived reports whether reading the body of r waits for nobody, and it can be sent with the head. Otherwise another goroutine reads it.
func hasArrived(r *http.Request) bool {
	return r.ContentLength <= maxWhole && len(r.Header["Expect"]) == 0 && reqbody.Arrived(r.Body)
}

// requestBody is the client's body while it is sent to the app. A transport may use it after the handler has returned.
type requestBody struct {
	io.ReadCloser
	// in is the client's request. Only Read uses it, until exchange.over.
	in       *http.Request
	trailer  http.Header
	exchange *exchange
	// http2 is the body of an HTTP/2 client, whose Close ends a Read in progress; otherwise nil.
	http2 io.Closer
	// closed says that the transport has closed the body. What fails after that is not the client's fault, unless its context had ended.
	closed atomic.Bool
}

func newRequestBody(in *http.Request, body io.ReadCloser, trailer http.Header, x *exchange) *requestBody {
	b := &requestBody{ReadCloser: body, in: in, trailer: trailer, exchange: x}
	if in.ProtoMajor == 2 {
		b.http2 = in.Body
	}
	return b
}

// Close ends a Read in progress, for which the transport waits after the app has failed. In HTTP/1.1 it does not: closing the
// client's body would read it to its end.
func (b *requestBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

// end is Close for relay: it does not close the body of an HTTP/1.1 client.
func (b *requestBody) end() {
	b.closed.Store(true)
	if b.http2 != nil {
		_ = b.http2.Close()
	}
}

// Read also copies the trailer at the end: the server fills in.Trailer only then, and the transport reads the trailer
// of its own request right after.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.exchange.reading != nil {
		b.exchange.reading <- struct{}{}
		defer func() { <-b.exchange.reading }()
		if b.exchange.over {
			return 0, http.ErrBodyReadAfterClose
		}
	}
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		for name := range b.trailer {
			b.trailer[name] = b.in.Trailer[name]
		}
	default:
		if !b.closed.Load() || b.in.Context().Err() != nil {
			b.exchange.bodyErr.CompareAndSwap(nil, &err)
		}
	}
	return n, err
}

// responseBody is the app's body while it is sent to the client.
type responseBody struct {
	io.ReadCloser
	res      *http.Response
	exchange *exchange
	timing   *request.Timing
	begun    bool // not empty
}

// Read removes the reserved names from the trailer as soon as it is known, and records why the body failed. It flushes the header of an empty
// body of unknown length, which would otherwise get a length sometimes: ReverseProxy's own flush races with the end of the body.
func (b *responseBody) Read(p []byte) (int, error) {
	asked := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.timing.App(asked)
	b.begun = b.begun || n > 0
	switch err {
	case nil:
	case io.EOF:
		removeReserved(b.res.Trailer)
		if !b.begun && b.res.ContentLength < 0 {
			_ = b.exchange.FlushError() // on an error the client has disconnected
		}
	default:
		b.exchange.readErr = fmt.Errorf("reading the app's response: %w", err)
	}
	return n, err
}
