package framing

import (
	"errors"
	"io"
	"strings"
)

// preface begins an HTTP/2 connection, RFC 9113 §3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// detect reads until the first bytes decide whether the connection is HTTP/2. It holds them back until then, because
// net/http reads the first 18 bytes of the preface as a request.
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
		return nil // the next read returns err again
	}
	return err
}
