package framing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// answerTime bounds the writing of a refusal: a client that does not read gets none.
const answerTime = time.Second

// Write writes a response's bytes. Where the request's body has turned out broken before its response began, it puts the
// refusal in that response's place, and drops the rest of it.
func (c *Conn) Write(p []byte) (int, error) {
	if c.opaque.Load() {
		return c.Conn.Write(p)
	}
	if !c.responded.Load() {
		if b := c.broken.Load(); b != nil && b.body {
			c.answer(b)
		} else if !interim(p) {
			c.responded.Store(true)
		}
	}
	if c.answered.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// interim reports whether p begins a 1xx response, after which another comes. 101 is final.
func interim(p []byte) bool {
	const status = "HTTP/1.1 "
	return bytes.HasPrefix(p, []byte(status+"1")) && !bytes.HasPrefix(p, []byte(status+"101"))
}

// CloseWrite ends the sending half, as http.Server does before it closes on a client that still sends.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection. A client whose request's body was broken and whose handler gave up without a response is
// told why first.
func (c *Conn) Close() error {
	if b := c.broken.Load(); b != nil && b.body && !c.responded.Load() {
		c.answer(b)
	}
	return c.Conn.Close()
}

// answer writes b's refusal, once.
func (c *Conn) answer(b *breach) {
	if !c.answered.CompareAndSwap(false, true) {
		return
	}
	if c.Conn.SetWriteDeadline(time.Now().Add(answerTime)) != nil {
		return
	}
	_, _ = c.Conn.Write(render(b.refusal)) // the client has gone: nobody is left to tell
}

// render is refusal as a whole HTTP/1.1 response. httperr.Write needs a request, and there is none.
func render(refusal *httperr.Error) []byte {
	title := http.StatusText(refusal.Status)
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{httperr.TypePrefix + string(refusal.Code), title, refusal.Status, refusal.Detail})
	if err != nil {
		body = []byte(`{}`)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"+
		"Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n%s",
		refusal.Status, title, len(body), body)
}
