package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/client"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/tracing"
	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
)

const (
	webSocket = "websocket"
	// tunnelBuffer is the size of the buffer for each direction of an upgraded connection, in bytes. An idle one has none, unless TLS is above it.
	tunnelBuffer = 4 << 10
)

var tunnelBuffers = sync.Pool{New: func() any { return new([tunnelBuffer]byte) }}

// switchProtocols accepts an upgrade, if the request asked for this one, and leaves the relaying to x.tunnel.
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
	conn, rw, err := x.Hijack()
	if err != nil {
		_ = app.Close()
		x.err = fmt.Errorf("switching protocols: taking the connection: %w", err)
		return
	}
	if err := sendSwitch(conn, h); err != nil {
		_, _ = conn.Close(), app.Close()
		x.err = fmt.Errorf("switching protocols: sending the response: %w", err)
		return
	}
	var ahead []byte // what the client has sent with its request
	if n := rw.Reader.Buffered(); n > 0 {
		ahead, _ = rw.Reader.Peek(n)
		ahead = append([]byte(nil), ahead...)
	}
	x.tunnel = func() { x.join(conn, app, ahead) }
}

// outlive relays the bytes of an accepted upgrade, after the handlers have returned if the server can.
func (p *Proxy) outlive(client context.Context, x *exchange, r *http.Request, call tracing.AppCall, release func()) {
	tunnel := func() {
		defer release()
		x.tunnel()
		call.End(x.status, x.failure() != nil)
		_ = p.conclude(client, x, r) // it has logged an error: there is nobody to respond to
	}
	if !upgraded.From(client).Outlive(tunnel) {
		tunnel()
	}
}

// sendSwitch sends the head of the response.
func sendSwitch(conn net.Conn, h http.Header) error {
	buf := tunnelBuffers.Get().(*[tunnelBuffer]byte)
	defer tunnelBuffers.Put(buf)
	head, out := http.Response{StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: h}, bytes.NewBuffer(buf[:0])
	_ = head.Write(out) // a buffer does not fail
	_, err := conn.Write(out.Bytes())
	return err
}

// join copies in both directions, until both have ended or one has failed.
func (x *exchange) join(conn net.Conn, app *http1.Upgraded, ahead []byte) {
	defer conn.Close()
	defer app.Close()
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

// passOn copies src to dst until src ends, and ends dst's sending half then. It has a buffer only while there are bytes.
func passOn(dst, src net.Conn) error {
	waits, _ := src.(interface{ Await() error })
	for {
		if waits != nil {
			_ = waits.Await() // what the read returns then says more
		}
		ended, err := pass(dst, src)
		if err != nil {
			return err
		}
		if !ended {
			continue
		}
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
		return errors.New("the connection has no halves to close")
	}
}

// pass copies what one read returns, and reports whether src has ended.
func pass(dst, src net.Conn) (ended bool, err error) {
	buf := tunnelBuffers.Get().(*[tunnelBuffer]byte)
	defer tunnelBuffers.Put(buf)
	n, err := src.Read(buf[:])
	if n > 0 {
		if _, err := dst.Write(buf[:n]); err != nil {
			return false, err
		}
	}
	if ended = errors.Is(err, io.EOF); ended {
		err = nil
	}
	return ended, err
}
