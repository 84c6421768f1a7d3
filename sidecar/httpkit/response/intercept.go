package response

import (
	"bufio"
	"maps"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Action is what becomes of a response. The zero Action passes it on, as a stream.
type Action struct {
	// Err takes the response's place: nothing of it reaches the client, the header is as it was before, and Intercept returns
	// Err.
	Err error
	// Replace writes another response in its place, once all of it has come. It finds the header as decide left it, and
	// gets the first Keep bytes of the body; whole says that there are no more.
	Replace func(w http.ResponseWriter, body []byte, whole bool) error
	// Keep bounds the body that is kept for Replace, in bytes. The rest of the body is read and dropped.
	Keep int
}

// Decide chooses an Action for a response by its status and its header, and may change the header. It is called once, just
// before the final header would be sent: not for informational responses, not for a refusal (an error that next returns), and
// not for a hijacked connection. A response of which nothing was written at all is a 200.
type Decide func(status int, h http.Header) Action

// Intercept calls next and does what decide says with its response. What next changes in the header afterwards, its
// trailers, is dropped with a response that is replaced.
func Intercept(w http.ResponseWriter, r *http.Request, next stage.Handler, decide Decide) error {
	x := &interceptor{Writer: Writer{ResponseWriter: w}, decide: decide, before: w.Header().Clone()}
	if err := next.ServeHTTP(x, r); err != nil {
		return err
	}
	x.settle(http.StatusOK)
	switch {
	case x.action.Err != nil:
		return x.action.Err
	case x.action.Replace != nil:
		return x.action.Replace(w, x.body, x.whole)
	}
	return nil
}

// interceptor decides at the final header.
type interceptor struct {
	Writer
	decide Decide
	// before is the header as earlier stages left it; next's fields come on top.
	before http.Header

	// settled says that action holds what becomes of the response; swallowed that it does not reach the client.
	settled, swallowed bool
	action             Action
	// hidden takes what next does to the header after the decision: trailers.
	hidden http.Header
	// body is what is kept; whole says that it is all so far.
	body  []byte
	whole bool
}

// settle decides, once.
func (x *interceptor) settle(status int) {
	if x.settled {
		return
	}
	h := x.ResponseWriter.Header()
	x.settled, x.whole, x.action = true, true, x.decide(status, h)
	if x.swallowed = x.action.Err != nil || x.action.Replace != nil; x.swallowed {
		x.hidden = http.Header{}
	}
	if x.action.Err != nil {
		clear(h)
		maps.Copy(h, x.before)
	}
}

// Header is the response's until it is known not to reach the client.
func (x *interceptor) Header() http.Header {
	if x.swallowed {
		return x.hidden
	}
	return x.ResponseWriter.Header()
}

// WriteHeader decides at the final status.
func (x *interceptor) WriteHeader(status int) {
	if IsFinal(status) {
		x.settle(status)
	}
	if !x.swallowed {
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write passes the body on, keeps it, or drops it.
func (x *interceptor) Write(p []byte) (int, error) {
	x.settle(http.StatusOK)
	if !x.swallowed {
		return x.ResponseWriter.Write(p)
	}
	if len(x.body)+len(p) > x.action.Keep {
		x.whole = false
	}
	x.body = append(x.body, p[:min(len(p), x.action.Keep-len(x.body))]...)
	return len(p), nil
}

// FlushError sends what may be sent.
func (x *interceptor) FlushError() error {
	x.settle(http.StatusOK)
	if x.swallowed {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack hands the connection over; there is nothing to decide any more.
func (x *interceptor) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := x.Writer.Hijack()
	if err == nil {
		x.settled = true
	}
	return conn, rw, err
}
