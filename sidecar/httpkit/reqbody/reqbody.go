// Package reqbody reads request bodies within limits, and gives the request the same bytes and the same length again,
// so that the app receives what the client sent. It reads forms (application/x-www-form-urlencoded) and JSON objects
// (application/json and +json), in UTF-8.
//
// A body is read only if a rule needs it, and only then can it be refused. These are refused, always with an
// *httperr.Error:
//
//	413 body-too-large      more bytes than Limits.Bytes; if Content-Length says so, nothing is read
//	408 body-timeout        the client sent nothing for too long
//	400 bad-body            the body is incomplete, or its framing is wrong; an earlier stage that checks the body has its own code
//	415 unsupported-body    multipart and every other media type, no or several Content-Types, a charset other than UTF-8, any
//	                        Content-Encoding: a compressed body is never decompressed
//	400 malformed-body      not well-formed; too deep; too many fields; a JSON member or a wanted field occurs twice; a field under
//	                        a name that some apps treat as the wanted one (Field)
//
// Chunked bodies are read in the same way and stay chunked for the app, with their trailers. If the client announced the
// body with Expect: 100-continue, reading it tells the client to continue. Expect is then removed, because the proxy would
// otherwise wait for the app's 100 response before it sends a body that it already has.
//
// A body in memory is bounded by Limits.Bytes per request. Several stages may call Read: the second call gets the
// Body of the first.
package reqbody

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Limits bounds a body. A zero value of a field other than Bytes is replaced by the default named in the field's
// comment.
type Limits struct {
	// Bytes is the maximum size in bytes. Zero allows no body.
	Bytes int
	// Depth is the maximum number of JSON levels, 16. A flat object has one level.
	Depth int
	// Fields is the maximum number of members and elements of JSON on all levels together, or of parameters of a
	// form, 1000.
	Fields int
}

func (l Limits) withDefaults() Limits {
	if l.Depth == 0 {
		l.Depth = 16
	}
	if l.Fields == 0 {
		l.Fields = 1000
	}
	return l
}

// Body is a request's body that was read to its end. Like the request, it is not safe for concurrent use.
type Body struct {
	raw    []byte
	limits Limits
	kind   kind
	// kindErr is why the body is neither a form nor JSON.
	kindErr *httperr.Error
	// parsed says that form or object, or parseErr, has the result of parsing.
	parsed   bool
	form     url.Values
	object   map[string]any
	parseErr *httperr.Error
}

// Read reads r's body to its end, and gives r a body with the same bytes and the same end. After an error, r can also
// be passed on as if it had not been read.
func Read(r *http.Request, limits Limits) (*Body, error) {
	limits = limits.withDefaults()
	if again, ok := r.Body.(*replay); ok && again.body != nil && !again.started && len(again.body.raw) <= limits.Bytes {
		return again.body.within(limits), nil
	}
	b := &Body{limits: limits}
	b.kind, b.kindErr = kindOf(r.Header)
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return b, nil
	}
	if r.ContentLength > int64(limits.Bytes) {
		return nil, tooLarge(nil)
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, int64(limits.Bytes)+1))
	delete(r.Header, "Expect")
	again := &replay{head: raw, rest: r.Body, err: err}
	r.Body = again
	switch {
	case err != nil:
		return nil, Refusal(err)
	case len(raw) > limits.Bytes:
		return nil, tooLarge(nil)
	}
	again.err = io.EOF // for every reader of a complete body; the client's connection is not read again
	b.raw, again.body = raw, b
	return b, nil
}

// within returns b, parsed again if the limits differ from the previous ones.
func (b *Body) within(limits Limits) *Body {
	if limits.Depth == b.limits.Depth && limits.Fields == b.limits.Fields {
		return b
	}
	return &Body{raw: b.raw, limits: limits, kind: b.kind, kindErr: b.kindErr}
}

// Bytes returns the body. The caller must not change it.
func (b *Body) Bytes() []byte { return b.raw }

// replay returns the part of a body that was read, and then the rest.
type replay struct {
	head []byte
	rest io.ReadCloser
	// err is the error at the end of head, from the client's body. It is nil if rest has more bytes.
	err error
	// body is the complete body, or nil if it is not complete.
	body    *Body
	started bool
}

// Read returns the bytes that the client sent.
func (p *replay) Read(b []byte) (int, error) {
	p.started = true
	if len(p.head) > 0 {
		n := copy(b, p.head)
		if p.head = p.head[n:]; len(p.head) == 0 && p.err == io.EOF {
			return n, io.EOF
		}
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.rest.Read(b)
}

// Close closes the client's body.
func (p *replay) Close() error { return p.rest.Close() }

// Arrived implements the interface of the function Arrived.
func (p *replay) Arrived() bool { return p.body != nil }

// Arrived reports whether all of a body has arrived, so that reading it up to its end does not wait for the client. A body that says so has a
// method of this name; one that surrounds another, and does not wait itself, passes the question on. All others may wait.
func Arrived(body io.Reader) bool {
	b, ok := body.(interface{ Arrived() bool })
	return ok && b.Arrived()
}

// Refusal returns what the client is told about an error from reading its body. If a stage that checks the body while
// it is read has refused it, that stage's refusal is returned.
func Refusal(err error) *httperr.Error {
	var own *httperr.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &large):
		return tooLarge(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &httperr.Error{Status: http.StatusRequestTimeout, Code: "body-timeout", Detail: "The request body did not arrive in time.", Cause: err}
	}
	return &httperr.Error{Status: http.StatusBadRequest, Code: "bad-body", Detail: "The request body could not be read.", Cause: err}
}

func tooLarge(cause error) *httperr.Error {
	return &httperr.Error{Status: http.StatusRequestEntityTooLarge, Code: "body-too-large", Detail: "The request body is too large.", Cause: cause}
}

// isEmpty reports whether there is nothing to parse.
func (b *Body) isEmpty() bool { return len(bytes.TrimSpace(b.raw)) == 0 }
