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

// maxAppBody bounds the app's JSON that is kept beside the tokens, in bytes.
const maxAppBody = 64 << 10

// mode is what becomes of the app's answer.
type mode int

const (
	// undecided: no final header has come.
	undecided mode = iota
	// pass: the answer is the app's, perhaps with cookies.
	pass
	// replace: the tokens are the answer, and the app's body is collected.
	replace
	// refuse: an error is the answer, and the app's body is dropped.
	refuse
)

// loginWriter decides at the app's final header.
type loginWriter struct {
	http.ResponseWriter
	login          func() (token.Tokens, bool, error)
	tokenTransport *transport.TokenTransport
	// before is the header as earlier stages left it; the app's fields come on top.
	before http.Header

	mode   mode
	tokens token.Tokens
	err    error
	// hidden takes what the app's side does to the header after the decision: trailers.
	hidden http.Header
	// body is the app's JSON; merge says that it is collected.
	body  bytes.Buffer
	merge bool
}

func newLoginWriter(w http.ResponseWriter, login func() (token.Tokens, bool, error), c *transport.TokenTransport) *loginWriter {
	return &loginWriter{ResponseWriter: w, login: login, tokenTransport: c, before: w.Header().Clone(), hidden: http.Header{}}
}

// Header is the answer's until it is known not to be the app's.
func (x *loginWriter) Header() http.Header {
	if x.mode == replace || x.mode == refuse {
		return x.hidden
	}
	return x.ResponseWriter.Header()
}

// WriteHeader decides at the final status, with a round trip to the session store where it is a login.
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

// Write passes the body on, keeps it, or drops it.
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

// FlushError sends what may be sent.
func (x *loginWriter) FlushError() error {
	if x.mode == undecided {
		x.WriteHeader(http.StatusOK)
	}
	if x.mode != pass {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush is FlushError for callers that know http.Flusher alone; the error shows at the next Write.
func (x *loginWriter) Flush() { _ = x.FlushError() }

// Unwrap is for http.ResponseController: deadlines, full duplex, hijacking.
func (x *loginWriter) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// finish answers in place of the app, once that has said all. An app that said nothing at all has answered 200.
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

// merged is the tokens with the app's own members.
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

// isJSON reports whether the body is JSON that can be read as it comes.
func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && h.Get("Content-Encoding") == "" && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// dropBodyFields removes what describes the app's body (RFC 9110 §8), which is not the answer's.
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
