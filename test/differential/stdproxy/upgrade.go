package stdproxy

import (
	"bufio"
	"errors"
	"io"
	"net"

	"github.com/posterndev/postern/sidecar/conn/websocket"
	"github.com/posterndev/postern/test/differential/stdproxy/writer"
)

// relayBuffer is the size of the buffer for each direction of an upgraded connection, in bytes. io.Copy's 32 KiB would be the
// largest part of what an idle WebSocket needs.
const relayBuffer = 4 << 10

// upgradeWriter hands over an upgraded connection.
type upgradeWriter struct{ writer.Writer }

// Hijack hands the connection over for an accepted upgrade.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.Writer.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return slimConn{websocket.New(conn, func() {})}, rw, nil
}

// slimConn is an upgraded connection. httputil.ReverseProxy copies both directions with io.Copy, which uses these methods.
type slimConn struct{ net.Conn }

// WriteTo copies what the client sends to w.
func (c slimConn) WriteTo(w io.Writer) (int64, error) { return relay(w, c.Conn) }

// ReadFrom copies what r sends to the client.
func (c slimConn) ReadFrom(r io.Reader) (int64, error) { return relay(c.Conn, r) }

// CloseWrite ends the sending half, so that the client sees the app's end.
func (c slimConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// relay copies from src to dst until src ends.
func relay(dst io.Writer, src io.Reader) (n int64, err error) {
	buf := make([]byte, relayBuffer)
	for {
		read, err := src.Read(buf)
		if read > 0 {
			written, err := dst.Write(buf[:read])
			n += int64(written)
			if err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
