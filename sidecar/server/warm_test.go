package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/chain/chaintest"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

// mostAllocations is what a warm request may need from its bytes to those of its response. It only ever becomes less.
func mostAllocations() map[string]float64 {
	return map[string]float64{chaintest.NoSections: 6, chaintest.Token: 7, chaintest.EverythingInMemory: 9}
}

// BenchmarkWarm is all of the sidecar's own work for a warm request, with both of its connections, but without sockets.
func BenchmarkWarm(b *testing.B) {
	for _, name := range chaintest.Names() {
		b.Run(name, func(b *testing.B) {
			w := newWarm(b, name)
			b.ReportAllocs()
			for b.Loop() {
				w.exchange()
			}
		})
	}
}

// TestWarmAllocates: no change adds an allocation to the warm path unseen.
func TestWarmAllocates(t *testing.T) {
	for name, most := range mostAllocations() {
		t.Run(name, func(t *testing.T) {
			if got := chaintest.Allocations(newWarm(t, name).exchange); got > most+chaintest.Dropped {
				t.Errorf("a warm request needs %v allocations; want at most %v", got, most)
			}
		})
	}
}

// warm is a client that sends the same request again and again to a sidecar.
type warm struct {
	t        testing.TB
	requests chan []byte
	ended    chan struct{}
	request  []byte
}

const appResponse = "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sun, 29 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n"

func newWarm(t testing.TB, name string) *warm {
	t.Helper()
	policy, authorization := chaintest.Policy(t, name)
	w := &warm{t: t, requests: make(chan []byte), ended: make(chan struct{}, 1), request: []byte("GET /orders/7?page=2 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: client/1.0\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: " + authorization + "\r\n\r\n")}
	defer func(before bool) { poisonRequests = before }(poisonRequests)
	poisonRequests = false
	cfg := Config{
		Inbound: plain{app: "app:80"}, ContainerPorts: nil, SecretsDir: t.TempDir(), Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
	}
	s, err := newSidecar(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.resources.Close)
	app := &memoryApp{response: []byte(appResponse + strings.Repeat("x", 1024))}
	s.enforcer.chain.App, err = upstream.New(upstream.Config{
		Target: cfg.Inbound.target, Logger: cfg.Logger, DialContext: func(context.Context, string, string) (net.Conn, error) { return app, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.enforcer.chain.OnlyPort = 80
	if err := s.enforcer.apply(t.Context(), policy, "hash"); err != nil {
		t.Fatal(err)
	}
	l := &oneConn{conn: make(chan net.Conn, 1)}
	go func() { _ = s.app.Serve(l) }()
	l.conn <- &memoryClient{warm: w, late: make(chan struct{}, 1)}
	t.Cleanup(func() { close(w.requests); close(l.conn) })
	w.exchange()
	return w
}

var responseEnd = []byte("\r\n\r\n" + strings.Repeat("x", 1024))

// exchange sends the request, and returns when its response was written.
func (w *warm) exchange() {
	w.requests <- w.request
	<-w.ended
}

// oneConn is a listener.
type oneConn struct{ conn chan net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (*oneConn) Close() error   { return nil }
func (*oneConn) Addr() net.Addr { return memoryAddr() }

func memoryAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.80:80")) }

// memoryConn is what both connections have in common.
type memoryConn struct{}

func (memoryConn) Close() error                     { return nil }
func (memoryConn) LocalAddr() net.Addr              { return memoryAddr() }
func (memoryConn) RemoteAddr() net.Addr             { return memoryAddr() }
func (memoryConn) SetDeadline(time.Time) error      { return nil }
func (memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (memoryConn) SetWriteDeadline(time.Time) error { return nil }

// memoryClient is the connection of a warm.
type memoryClient struct {
	memoryConn
	*warm
	// late interrupts a read.
	late chan struct{}
}

func (c *memoryClient) Read(b []byte) (int, error) {
	select {
	case request, ok := <-c.requests:
		if !ok {
			return 0, io.EOF
		}
		return copy(b, request), nil
	case <-c.late:
		return 0, os.ErrDeadlineExceeded
	}
}

// SetReadDeadline is used by the watch for a client that disconnects, which begins when the machine is slow.
func (c *memoryClient) SetReadDeadline(t time.Time) error {
	select {
	case <-c.late:
	default:
	}
	if !t.IsZero() {
		c.late <- struct{}{}
	}
	return nil
}

func (c *memoryClient) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(b, responseEnd) {
		c.t.Errorf("the response is %.300q", b)
	}
	c.ended <- struct{}{}
	return len(b), nil
}

// memoryApp is a connection to an app.
type memoryApp struct {
	memoryConn
	response []byte
}

func (c *memoryApp) Read(b []byte) (int, error) { return copy(b, c.response), nil }
func (*memoryApp) Write(b []byte) (int, error)  { return len(b), nil }
func (*memoryApp) Pending() bool                { return false }
