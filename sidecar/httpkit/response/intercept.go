package response

import (
	"bufio"
	"maps"
	"net"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Action says what happens to a response. The zero Action passes it on as a stream.
type Action struct {
	// Err replaces the response: nothing of the response reaches the client, the header is restored, and Intercept
	// returns Err.
	Err error
	// Replace writes another response after the original one is complete. It finds the header as decide left it, and
	// gets the first Keep bytes of the body; whole says that this is the complete body.
	Replace func(w http.ResponseWriter, body []byte, whole bool) error
	// Keep is the maximum number of bytes of the body that are kept for Replace. The rest of the body is read and
	// dropped.
	Keep int
}

// Decide chooses an Action for a response by its status and its header, and may change the header. It is called once,
// just before the final header would be sent. It is not called for informational responses, for a refusal (an error
// that next returns), or for a hijacked connection. If nothing was written, the response is a 200.
type Decide func(status int, h http.Header) Action

// Intercept calls next and applies the Action of decide to its response. If a response is replaced, later changes of
// next to the header (trailers) are dropped.
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

// interceptor calls decide at the final header.
type interceptor struct {
	Writer
	decide Decide
	// before is the header as earlier stages left it. next adds its fields to it.
	before http.Header

	// settled says that action was decided, swallowed that the response does not reach the client.
	settled, swallowed bool
	action             Action
	// hidden receives changes of next to the header after the decision: trailers.
	hidden http.Header
	// body is the kept part; whole says that it is complete so far.
	body  []byte
	whole bool
}

// settle decides once.
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

// Header returns the response's header until it is known that the response does not reach the client.
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

// FlushError sends what is allowed to be sent.
func (x *interceptor) FlushError() error {
	x.settle(http.StatusOK)
	if x.swallowed {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack hands the connection over. There is nothing left to decide then.
func (x *interceptor) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := x.Writer.Hijack()
	if err == nil {
		x.settled = true
	}
	return conn, rw, err
}
