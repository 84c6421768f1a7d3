package attack

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// retryPause is how long a flooder waits before it tries again what was refused or ended. It bounds the flood.
const retryPause = 250 * time.Millisecond

// startPause is the pause between the starts of two clients.
const startPause = time.Millisecond

// flood is a set of clients that try to hold something open for as long as the context lasts.
type flood struct {
	ctx  context.Context
	to   string
	wait sync.WaitGroup
	// open is how many things are open, and ended how often the sidecar ended or refused one.
	open, ended atomic.Int64
}

// start runs n clients. Each holds from the address of from(i) until hold returns, and then tries again.
func start(t *testing.T, d *door, n int, from func(i int) string, hold func(f *flood, conn net.Conn)) *flood {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &flood{ctx: ctx, to: d.address}
	for i := range n {
		f.wait.Go(func() {
			pause(ctx, time.Duration(i)*startPause)
			for ctx.Err() == nil {
				if conn, err := dial(ctx, from(i), f.to); err == nil {
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					hold(f, conn)
					stop()
					_ = conn.Close()
				}
				pause(ctx, retryPause)
			}
		})
	}
	t.Cleanup(func() { cancel(); f.wait.Wait() })
	return f
}

func dial(ctx context.Context, from, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.DialContext(ctx, "tcp", to)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// one returns the same address for all clients, and many another one for each.
func one(address string) func(int) string { return func(int) string { return address } }

func many(i int) string { return fmt.Sprintf("127.%d.%d.9", 10+i>>8, i&255) }

// slowBody sends an HTTP/1.1 request and then a byte of its body each second.
func slowBody(f *flood, conn net.Conn) {
	_, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\n")
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		over.Store(true)
	}()
	f.open.Add(1)
	for err == nil && !over.Load() && f.ctx.Err() == nil {
		_, err = conn.Write([]byte{'a'})
		pause(f.ctx, time.Second)
	}
	f.open.Add(-1)
	f.ended.Add(1)
}

// idleSocket opens a WebSocket and then sends nothing.
func idleSocket(f *flood, conn net.Conn) {
	_, err := io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		return
	}
	reader := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		f.ended.Add(1)
		return
	}
	f.open.Add(1)
	_, _ = io.Copy(io.Discard, conn)
	f.open.Add(-1)
	f.ended.Add(1)
}

// unread asks for a large response, and does not read it.
func unread(f *flood, conn net.Conn) {
	_, _ = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: shop\r\n\r\n")
	f.open.Add(1)
	<-f.ctx.Done()
	f.open.Add(-1)
}

// idleConn sends a request, and keeps the connection after the response.
func idleConn(f *flood, conn net.Conn) {
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return
	}
	f.open.Add(1)
	_, _ = io.Copy(io.Discard, conn)
	f.open.Add(-1)
	f.ended.Add(1)
}

// silentStreams returns a client with n POST streams on an HTTP/2 connection, each with one byte and then silence. A stream that ends
// is replaced.
func silentStreams(n int) func(*flood, net.Conn) { return manyStreams(n, false) }

// unreadStreams returns a client with n streams that ask for a large response and do not make room for it. The connection has room.
func unreadStreams(n int) func(*flood, net.Conn) { return manyStreams(n, true) }

func manyStreams(n int, large bool) func(*flood, net.Conn) {
	return func(f *flood, conn net.Conn) {
		s := &streams{large: large, flood: f, framer: http2.NewFramer(conn, bufio.NewReader(conn)), next: 1}
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil || s.framer.WriteSettings() != nil || s.framer.WriteWindowUpdate(0, 1<<30) != nil {
			return
		}
		for range n {
			if s.post() != nil {
				break
			}
		}
		for s.follow() == nil {
		}
		f.open.Add(-s.open)
	}
}

type streams struct {
	large  bool
	flood  *flood
	framer *http2.Framer
	next   uint32
	open   int64
}

// post opens a stream, and sends one byte of a body.
func (s *streams) post() error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	method, path := "POST", "/upload"
	if s.large {
		method, path = "GET", "/large"
	}
	for _, field := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "shop"}, {":path", path}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	id := s.next
	s.next += 2
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: s.large}); err != nil {
		return err
	}
	if !s.large {
		if err := s.framer.WriteData(id, false, []byte{'a'}); err != nil {
			return err
		}
	}
	s.open++
	s.flood.open.Add(1)
	return nil
}

// follow reads a frame, and opens a new stream for one that ended.
func (s *streams) follow() error {
	frame, err := s.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			return s.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			return s.framer.WritePing(true, frame.Data)
		}
	case *http2.RSTStreamFrame:
		s.open--
		s.flood.open.Add(-1)
		s.flood.ended.Add(1)
		pause(s.flood.ctx, 5*time.Millisecond)
		return s.post()
	}
	return nil
}
