package framing

import (
	"errors"
	"io"
	"strings"

	"github.com/posterndev/postern/sidecar/conn/framing/h2"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

const preface = h2.Preface

// listOverhead is what net/http adds to MaxHeaderBytes as the maximum size of a header list, in bytes: a header list counts 32 for each
// field (RFC 9113 §6.5.2).
const listOverhead = 10 * 32

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
		c.http2 = h2.NewReader(c.receive, h2.Config{ListBytes: c.config.Limits.HeadBytes + listOverhead, OnRefuse: c.noteHTTP2})
	case errors.Is(err, io.EOF):
		c.detected = len(got) > 0
	}
	if c.detected {
		return nil // the next read returns err again
	}
	return err
}

// noteHTTP2 reports a refusal in HTTP/2.
func (c *Conn) noteHTTP2(refusal *httperr.Error) {
	if c.config.OnRefuse != nil {
		c.config.OnRefuse(c.Conn, refusal)
	}
}
