package framing

import (
	"errors"
	"io"
	"strings"
)

// preface opens an HTTP/2 connection, RFC 9113 §3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// detect reads until the connection's first bytes are told from HTTP/2's preface. It holds them back meanwhile: the
// preface's first 18 bytes alone are a request to net/http.
func (c *Conn) detect() error {
	var buf [512]byte
	n, err := c.Conn.Read(buf[:])
	c.ahead = append(c.ahead, buf[:n]...)
	got := c.ahead[:min(len(c.ahead), len(preface))]
	switch {
	case !strings.HasPrefix(preface, string(got)):
		c.detected = len(got) > 0
	case len(got) == len(preface):
		c.detected = true
		c.opaque.Store(true)
	case errors.Is(err, io.EOF):
		c.detected = len(got) > 0
	}
	if c.detected {
		return nil // what err says, the next read says again
	}
	return err
}
