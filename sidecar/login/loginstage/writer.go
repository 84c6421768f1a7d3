package loginstage

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// maxAppBody bounds the app's JSON that is merged with the tokens, in bytes.
const maxAppBody = 64 << 10

// mode is how the app's response is treated.
type mode int

const (
	// undecided: the app has not sent its final header.
	undecided mode = iota
	// pass: the client gets the app's response, possibly with cookies.
	pass
	// replace: the client gets the tokens; the app's body is collected.
	replace
	// refuse: the client gets an error; the app's body is dropped.
	refuse
)

// loginWriter decides at the app's final header how the response is treated.
type loginWriter struct {
	http.ResponseWriter
	login          func() (token.Tokens, bool, error)
	tokenTransport *transport.TokenTransport
	// before is the header as outer stages set it, without the app's fields.
	before http.Header

	mode   mode
	tokens token.Tokens
	err    error
	// hidden receives header fields that the app sets after the decision: trailers.
	hidden http.Header
	// body is the app's JSON, collected while merge is true.
	body  bytes.Buffer
	merge bool
}

func newLoginWriter(w http.ResponseWriter, login func() (token.Tokens, bool, error), c *transport.TokenTransport) *loginWriter {
	return &loginWriter{ResponseWriter: w, login: login, tokenTransport: c, before: w.Header().Clone(), hidden: http.Header{}}
}

// Header returns the header of the response, or a discarded one once the app's response is replaced.
func (x *loginWriter) Header() http.Header {
	if x.mode == replace || x.mode == refuse {
		return x.hidden
	}
	return x.ResponseWriter.Header()
}

// WriteHeader decides at the final status. A login takes a round trip to the session store.
func (x *loginWriter) WriteHeader(status int) {
	if x.mode == undecided && response.IsFinal(status) {
		x.decide(status)
	}
	if x.mode == undecided || x.mode == pass {
		x.ResponseWriter.WriteHeader(status)
	}
}

func (x *loginWriter) decide(status int) {
	x.mode = pass
	if status < 200 || status > 299 {
		return
	}
	tokens, ok, err := x.login()
	h := x.ResponseWriter.Header()
	switch {
	case err != nil:
		x.mode, x.err = refuse, err
		clear(h)
		maps.Copy(h, x.before)
	case ok && x.tokenTransport.Delivery() == transport.Body:
		x.mode, x.tokens = replace, tokens
		x.merge = isJSON(h)
		dropBodyFields(h)
	case ok:
		x.tokenTransport.SetCookies(h, tokens)
	}
}

// Write passes the body on, collects it, or drops it.
func (x *loginWriter) Write(p []byte) (int, error) {
	if x.mode == undecided {
		x.WriteHeader(http.StatusOK)
	}
	switch x.mode {
	case pass:
		return x.ResponseWriter.Write(p)
	case replace:
		if x.merge = x.merge && x.body.Len()+len(p) <= maxAppBody; x.merge {
			x.body.Write(p)
		}
	}
	return len(p), nil
}

// FlushError flushes the app's response. It does nothing if that is replaced.
func (x *loginWriter) FlushError() error {
	if x.mode == undecided {
		x.WriteHeader(http.StatusOK)
	}
	if x.mode != pass {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush is FlushError for callers of http.Flusher; an error is returned by the next Write.
func (x *loginWriter) Flush() { _ = x.FlushError() }

// Unwrap supports http.ResponseController: deadlines, full duplex, hijacking.
func (x *loginWriter) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// finish writes the replacement after the app has returned. An app that wrote nothing has responded with 200.
func (x *loginWriter) finish() error {
	if x.mode == undecided {
		x.decide(http.StatusOK)
	}
	switch x.mode {
	case refuse:
		return x.err
	case replace:
		return transport.WriteJSON(x.ResponseWriter, http.StatusOK, x.merged())
	}
	return nil
}

// merged returns the tokens with the members of the app's body.
func (x *loginWriter) merged() map[string]any {
	all := map[string]any{}
	var members map[string]json.RawMessage
	if x.merge && json.Unmarshal(x.body.Bytes(), &members) == nil {
		for name, value := range members {
			all[name] = value
		}
	}
	maps.Copy(all, transport.TokenResponse(x.tokens))
	return all
}

// isJSON reports whether the body is JSON without a content encoding.
func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && h.Get("Content-Encoding") == "" && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// dropBodyFields removes the fields that describe the app's body (RFC 9110 §8), which is replaced.
func dropBodyFields(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Trailer", "Digest", "Repr-Digest", "Expires"} {
		delete(h, name)
	}
}
