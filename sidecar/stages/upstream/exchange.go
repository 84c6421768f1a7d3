package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/client"
	"github.com/posterndev/postern/sidecar/httpkit/quoted"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// reserved is the prefix of the response fields that only the sidecar may send.
const reserved = "Postern-"

type exchangeKey struct{}

// exchangeOf returns the request's exchange, which ServeHTTP stored.
func exchangeOf(r *http.Request) *exchange {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return &exchange{reading: make(chan struct{}, 1)}
	}
	return x
}

// exchange is the state of one request, and the ResponseWriter that relay and ReverseProxy write to.
type exchange struct {
	response.Writer
	// http10 clients get no informational responses (RFC 9110 §15.2).
	http10 bool
	// informational is the header of the next 1xx response. It is separate from the final response's header, because
	// ReverseProxy clears it after each 1xx response and would delete the fields of earlier stages.
	informational http.Header
	// final says that the app's final response has arrived.
	final bool
	// status is that of the final response; 0 for none.
	status int
	// started and hijacked say that the final header was sent to the client, broken that the response was cut short.
	started, hijacked, broken bool
	// tunnel relays the bytes of an accepted upgrade; nil for none.
	tunnel func()
	// err is why there is no response; readErr and writeErr are why it was cut short.
	err, readErr, writeErr error
	// out is the request to an HTTP/1.1 app, and trailers the names that its response announces. Only relay uses them.
	out      http1.Request
	trailers []string
	// watch may end the response.
	watch watch
	// bodyErr is why reading the client's body failed. The transport's goroutine sets it, and holds reading while it reads.
	// Without a body, and with one that has arrived, reading is nil.
	bodyErr atomic.Pointer[error]
	reading chan struct{}
	// over says that the handler returns, so that the client's body is not read any more. It is set while reading is held.
	over bool
	// flushing is held while the response is flushed: ReverseProxy also does it in a goroutine of its own.
	flushing sync.Mutex
	// shared says that the app's connection is shared with other requests (HTTP/2), and interims sends its informational responses.
	shared   bool
	interims interims
}

// bodyWait bounds waiting for a read of a body whose client is gone. The read ends at once, except in an unknown case.
const bodyWait = time.Second

// awaitBody waits for a read of the client's body that is ending, and returns why it failed, or nil.
func (x *exchange) awaitBody() *error {
	if x.reading == nil {
		return x.bodyErr.Load()
	}
	ended := time.NewTimer(bodyWait)
	defer ended.Stop()
	select {
	case x.reading <- struct{}{}:
		<-x.reading
	case <-ended.C:
	}
	return x.bodyErr.Load()
}

// endBody ends the reading of the client's body before the handler returns, because the engine reuses the request then. Other servers reuse
// nothing, and cannot end a read.
func (x *exchange) endBody() {
	if response.EndBody(x.ResponseWriter) {
		x.reading <- struct{}{}
		x.over = true
		<-x.reading
	}
}

// failure returns the first known reason, or nil.
func (x *exchange) failure() error {
	for _, err := range []error{x.err, x.readErr, x.writeErr} {
		if err != nil {
			return quoted.Error(err) // net/http quotes what it cannot read
		}
	}
	return nil
}

// Header returns the final response's header after that response has arrived, and before that the header of an
// informational response.
func (x *exchange) Header() http.Header {
	if x.final {
		return x.ResponseWriter.Header()
	}
	if x.informational == nil {
		x.informational = http.Header{}
	}
	return x.informational
}

// WriteHeader sends the final header, or an informational response.
func (x *exchange) WriteHeader(status int) {
	switch {
	case !x.final && x.shared:
		x.interims.add(interim{status, x.informational.Clone()}, x.inform)
		return
	case !x.final:
		x.inform(interim{status, x.informational})
		return
	}
	x.started = true
	if h := x.ResponseWriter.Header(); len(h["Content-Type"]) == 0 {
		h["Content-Type"] = nil // the app sent none, and net/http must not guess one
	}
	x.ResponseWriter.WriteHeader(status)
	x.watch.start()
}

// inform sends a 1xx response with only its own fields (103). The server sends 100 Continue itself when the body is first
// read, which is what the transport does once the app has said 100: passed on, it would arrive twice.
func (x *exchange) inform(i interim) {
	if x.http10 || i.status == http.StatusContinue {
		return
	}
	h := x.ResponseWriter.Header()
	kept := maps.Clone(h)
	clear(h)
	removeReserved(i.header)
	maps.Copy(h, i.header)
	x.ResponseWriter.WriteHeader(i.status)
	clear(h)
	maps.Copy(h, kept)
}

// Write passes the response's body on.
func (x *exchange) Write(b []byte) (int, error) {
	n, err := x.ResponseWriter.Write(b)
	if err != nil && x.writeErr == nil {
		x.writeErr = fmt.Errorf("writing to client: %w", err)
	}
	return n, err
}

// FlushError sends what was written, at least the header.
func (x *exchange) FlushError() error {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	return x.Writer.FlushError()
}

// Hijack hands the connection over for an accepted upgrade.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := x.Writer.Hijack()
	if x.hijacked = err == nil; x.hijacked {
		x.watch.start()
	}
	return conn, rw, err
}

// keepError is the ReverseProxy's ErrorHandler. It records the error, which is classified after the exchange.
func keepError(_ http.ResponseWriter, r *http.Request, err error) {
	if x := exchangeOf(r); x.err == nil {
		x.err = err
	}
}

// receive is the ReverseProxy's ModifyResponse. It accepts an upgrade only if the request asked for one, because
// ReverseProxy also accepts a 101 response without Upgrade to a request without Upgrade.
func receive(res *http.Response) error {
	x := exchangeOf(res.Request)
	x.interims.await()
	request.From(res.Request).AppFields = removeReserved(res.Header)
	removeReserved(res.Trailer)
	if res.StatusCode == http.StatusSwitchingProtocols {
		if res.Request.Header.Get("Upgrade") == "" || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
			return errors.New("switching protocols: the app responded with 101 to a request that did not ask for this upgrade")
		}
		x.final, x.status = true, res.StatusCode
		return nil
	}
	if res.StatusCode < 100 {
		return fmt.Errorf("reading the app's response: %d is not a valid status (RFC 9110 §15)", res.StatusCode) // net/http would panic
	}
	x.final, x.status = true, res.StatusCode
	res.Body = &responseBody{ReadCloser: res.Body, res: res, exchange: x, timing: request.From(res.Request).Timing}
	return nil
}

// removeReserved removes the sidecar's own fields from h and returns them; nil if there are none.
func removeReserved(h http.Header) http.Header {
	var removed http.Header
	for name, values := range h {
		if len(name) < len(reserved) || !strings.EqualFold(name[:len(reserved)], reserved) {
			continue
		}
		delete(h, name)
		if removed == nil {
			removed = http.Header{}
		}
		canonical := http.CanonicalHeaderKey(name)
		removed[canonical] = append(removed[canonical], values...)
	}
	return removed
}

// gone reports whether the client's context ended because the client disconnected.
func gone(client context.Context) bool { return errors.Is(client.Err(), context.Canceled) }
