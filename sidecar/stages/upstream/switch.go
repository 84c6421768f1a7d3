package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/client"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

const (
	webSocket = "websocket"
	// tunnelBuffer is the size of the buffer for each direction of an upgraded connection, in bytes: most of what an idle one needs.
	tunnelBuffer = 4 << 10
)

// switchProtocols relays both directions of an upgraded connection until both have ended, or one has failed. It accepts an upgrade only if
// the request asked for this one.
func (p *Proxy) switchProtocols(x *exchange, out *http1.Request, res *http1.Response) {
	protocol := ""
	for _, f := range res.Fields() {
		if f.Name == "Upgrade" {
			protocol = f.Value
		}
	}
	if out.Upgrade == "" || !strings.EqualFold(protocol, webSocket) {
		x.err = errSwitched
		res.Close()
		return
	}
	info := request.From(out.In)
	info.AppFields = x.addFields(res.Fields(), 0)
	x.final, x.status = true, res.Status()
	h := x.ResponseWriter.Header()
	h.Set("Connection", "Upgrade")
	h["Upgrade"] = []string{protocol}
	app := res.Upgrade()
	defer app.Close()
	conn, rw, err := x.Hijack()
	if err != nil {
		x.err = fmt.Errorf("switching protocols: taking the connection: %w", err)
		return
	}
	defer conn.Close()
	head := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}
	if err := errors.Join(head.Write(rw), rw.Flush()); err != nil {
		x.err = fmt.Errorf("switching protocols: sending the response: %w", err)
		return
	}
	var ahead []byte // what the client has sent with its request
	if n := rw.Reader.Buffered(); n > 0 {
		ahead, _ = rw.Reader.Peek(n)
		ahead = append([]byte(nil), ahead...)
	}
	x.tunnel(conn, app, ahead)
}

// tunnel copies in both directions, until both have ended or one has failed.
func (x *exchange) tunnel(conn net.Conn, app *http1.Upgraded, ahead []byte) {
	end := func(err error) error {
		if err != nil {
			_, _ = conn.Close(), app.Close() // so that the other direction ends
		}
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := app.Write(ahead)
		if err == nil {
			err = passOn(app, conn)
		}
		sent <- end(err)
	}()
	err := end(passOn(conn, app))
	if x.err = <-sent; err != nil {
		x.err = err
	}
}

// passOn copies src to dst until src ends, and ends dst's sending half then.
func passOn(dst io.Writer, src io.Reader) error {
	buf := make([]byte, tunnelBuffer)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				return half.CloseWrite()
			}
			return errors.New("the connection has no halves to close")
		}
		if err != nil {
			return err
		}
	}
}
