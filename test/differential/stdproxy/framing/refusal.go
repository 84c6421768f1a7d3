package framing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// refusalTime bounds writing a refusal. A client that does not read gets no refusal.
const refusalTime = time.Second

// Write writes a response's bytes. If the request's body was refused before its response began, Write sends the
// refusal instead of that response, and discards the response.
func (c *Conn) Write(p []byte) (int, error) {
	if c.opaque.Load() {
		return c.Conn.Write(p)
	}
	if !c.responded.Load() {
		if b := c.broken.Load(); b != nil && b.body && !says(p, b.refusal.Status) {
			c.sendRefusal(b)
		} else if !interim(p) {
			c.responded.Store(true)
		}
	}
	if c.refusalSent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// interim reports whether p begins a 1xx response, which another response follows. 101 is final.
func interim(p []byte) bool {
	const status = "HTTP/1.1 "
	return bytes.HasPrefix(p, []byte(status+"1")) && !bytes.HasPrefix(p, []byte(status+"101"))
}

// says reports whether p begins a response with the status. A handler's own response with a refusal's status is that refusal, with the
// headers of the policy.
func says(p []byte, status int) bool {
	const version = "HTTP/1.1 "
	return len(p) > len(version) && bytes.HasPrefix(p, []byte("HTTP/1.")) && bytes.HasPrefix(p[len(version):], strconv.AppendInt(nil, int64(status), 10))
}

// CloseWrite closes the sending half, as http.Server does before it closes a connection on which the client still
// sends.
func (c *Conn) CloseWrite() error {
	c.lingered.Store(true)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection. If the request's body was refused and the handler has written no response, Close sends
// the refusal first. If the client may still send its body, the connection is closed a little later by another goroutine: net/http
// waits only for clients that would have kept the connection.
func (c *Conn) Close() error {
	b := c.broken.Load()
	refused := b != nil && b.body
	if refused && !c.responded.Load() {
		c.sendRefusal(b)
	}
	sending := c.unfinished.Load() && c.responded.Load() && !c.opaque.Load()
	if !refused && !sending || !c.lingered.CompareAndSwap(false, true) {
		return c.Conn.Close()
	}
	go func() {
		c.linger()
		_ = c.Conn.Close()
	}()
	return nil
}

// sendRefusal writes b's refusal, once.
func (c *Conn) sendRefusal(b *breach) {
	if !c.refusalSent.CompareAndSwap(false, true) {
		return
	}
	if c.Conn.SetWriteDeadline(time.Now().Add(refusalTime)) != nil {
		return
	}
	response := render(b.refusal)
	if !b.body {
		response = c.respond(b)
	}
	_, _ = c.Conn.Write(response) // on an error the client has disconnected
}

// render returns refusal as a complete HTTP/1.1 response.
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
