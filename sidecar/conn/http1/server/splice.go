package server

import (
	"errors"
	"io"
	"net"
	"net/http"
)

// spliceSize is how much of a body is copied before the client's time to read begins again, in bytes.
const spliceSize = 256 << 10

// ReadFrom copies src to the client. The kernel copies a body of a known length from one socket to another.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok || w.conn.tcp == nil || w.method == http.MethodHead {
		return io.Copy(writerOnly{w}, src)
	}
	if _, ok := limited.R.(*net.TCPConn); !ok {
		return io.Copy(writerOnly{w}, src)
	}
	if err := w.prepare(0); err != nil {
		return 0, err
	}
	if w.length < 0 || w.length-w.written < limited.N || !allowsBody(w.status) {
		return io.Copy(writerOnly{w}, src)
	}
	if !w.begin(false) {
		return io.Copy(io.Discard, src)
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.splice(limited)
}

type writerOnly struct{ io.Writer }

func (w *response) splice(src *io.LimitedReader) (n int64, err error) {
	c := w.conn
	for src.N > 0 && err == nil {
		part := io.LimitedReader{R: src.R, N: min(src.N, spliceSize)}
		var copied int64
		c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
		copied, err = c.tcp.ReadFrom(&part)
		c.writeAlarm.clear(c, c.net.SetWriteDeadline)
		n, w.written, src.N = n+copied, w.written+copied, src.N-copied
		if copied == 0 {
			break
		}
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op != "read" {
		_ = w.sent(err)
	}
	return n, err
}
