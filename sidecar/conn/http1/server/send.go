package server

import (
	"strconv"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// maxChunkLine is the most that a chunk has besides its data, in bytes.
const maxChunkLine = 20

// send sends or collects p, which is a part of the body of a response that has begun.
func (w *response) send(p []byte) error {
	extra := 0
	if w.chunked {
		extra = maxChunkLine
	}
	if len(w.buf)+len(p)+extra > cap(w.buf) && len(p) < bufferSize/2 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.chunked {
		w.buf = append(strconv.AppendInt(w.buf, int64(len(p)), 16), "\r\n"...)
	}
	if len(w.buf)+len(p)+2 <= cap(w.buf) {
		if w.buf = append(w.buf, p...); w.chunked {
			w.buf = append(w.buf, "\r\n"...)
		}
		return nil
	}
	w.vectors = [3][]byte{w.buf[w.body:], p, nil}
	if w.chunked {
		w.vectors[2] = lineEnd
	}
	return w.flushVectors()
}

var lineEnd = []byte("\r\n")

// flush sends what is in the buffer.
func (w *response) flush() error {
	if w.err != nil || len(w.buf) == w.body {
		return w.err
	}
	c := w.conn
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	_, err := c.net.Write(w.buf[w.body:])
	c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	return w.sent(err)
}

// flushVectors sends the vectors: in one system call, if the bytes are those of the socket.
func (w *response) flushVectors() error {
	if w.err != nil {
		return w.err
	}
	c := w.conn
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	_, err := nonblock.WriteBuffers(c.net, w.vectors[:])
	c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	w.vectors = [3][]byte{}
	return w.sent(err)
}

func (w *response) sent(err error) error {
	w.buf, w.body, w.err = w.buf[:0], 0, err
	if err != nil {
		w.conn.last.Store(true)
		w.conn.current.Load().end() // the client is gone, or has read nothing for too long
	}
	return err
}
