package server

import (
	"bufio"
	"net"

	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// acceptedWriter tells of an accepted upgrade.
type acceptedWriter struct {
	response.Writer
	// accepted is called when the connection is upgraded.
	accepted func()
}

// Hijack hands the connection over for an accepted upgrade.
func (w *acceptedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.Writer.Hijack()
	if err == nil {
		w.accepted()
	}
	return conn, rw, err
}
