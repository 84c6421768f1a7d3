package server

import (
	"net/http"
	"strings"
)

// inform sends an interim response, RFC 9110 §15.2.
func (w *response) inform(status int) {
	if w.request.ProtoMinor == 0 {
		return // RFC 9110 §15.2: HTTP/1.0 has none
	}
	if status == http.StatusContinue {
		if w.conn.body.expect.Swap(false) {
			_ = w.writeContinue()
		}
		return
	}
	w.interim.Lock()
	defer w.interim.Unlock()
	saved := w.buf
	w.buf = appendStatus([]byte("HTTP/1.1 "), status)
	for name, lines := range w.header {
		if name != "Content-Length" && name != "Transfer-Encoding" && !strings.HasPrefix(name, http.TrailerPrefix) {
			w.addFields(name, lines)
		}
	}
	w.buf = append(w.buf, "\r\n"...)
	text := w.buf
	w.buf = saved
	_ = w.writeInterim(text) // on an error the client is gone, which the final response notices
}

// writeContinue asks the client for its body, unless it has its response already.
func (w *response) writeContinue() error {
	w.interim.Lock()
	defer w.interim.Unlock()
	if w.status != 0 {
		w.conn.last.Store(true)
		return nil
	}
	return w.writeInterim([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
}

func (w *response) writeInterim(text []byte) error {
	c := w.conn
	c.writeAlarm.set(&c.server.sweeper, c.server.config.Times.Stall)
	defer c.writeAlarm.clear(c, c.net.SetWriteDeadline)
	_, err := c.net.Write(text)
	return err
}
