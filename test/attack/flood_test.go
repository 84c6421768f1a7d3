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

// fullBody sends all of an HTTP/1.1 body that the sidecar takes, to an app that does not read it.
func fullBody(f *flood, conn net.Conn) {
	_, _ = io.WriteString(conn, "POST /blocked HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000000\r\n\r\n")
	f.open.Add(1)
	for part := make([]byte, 64<<10); ; {
		if _, err := conn.Write(part); err != nil {
			break
		}
	}
	f.open.Add(-1)
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
func silentStreams(n int) func(*flood, net.Conn) {
	return manyStreams(n, ask{"POST", "/upload", 1, ""})
}

// unreadStreams returns a client with n streams that ask for a large response and do not make room for it. The connection has room.
func unreadStreams(n int) func(*flood, net.Conn) { return manyStreams(n, ask{"GET", "/large", 0, ""}) }

// unreadEncoded is unreadStreams with a response that is compressed.
func unreadEncoded(n int, coding string) func(*flood, net.Conn) {
	return manyStreams(n, ask{"GET", "/text", 0, coding})
}

// fullStreams returns a client with n streams, each with all of a body that the sidecar takes. The app does not read it, and responds
// without end at /both, to a client that does not read that.
func fullStreams(n int, path string) func(*flood, net.Conn) {
	return manyStreams(n, ask{"POST", path, 4 << 20, ""})
}

// ask is the request of a stream. body is the length of what is sent of its body, in bytes, and coding its Accept-Encoding.
type ask struct {
	method, path string
	body         int
	coding       string
}

func manyStreams(n int, ask ask) func(*flood, net.Conn) {
	return func(f *flood, conn net.Conn) {
		s := &streams{ask: ask, flood: f, left: map[uint32]*sending{}, framer: http2.NewFramer(conn, bufio.NewReader(conn)), next: 1, room: 65535, first: 65535}
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
	ask   ask
	flood *flood
	// left is what is left of the bodies, by stream; room and first are the windows of the connection and of a new stream.
	left        map[uint32]*sending
	room, first int
	framer      *http2.Framer
	next        uint32
	open        int64
}

// sending is the rest of a body, and the room that the sidecar gives it, in bytes.
type sending struct{ left, room int }

// send sends what there is room for.
func (s *streams) send(id uint32) error {
	b := s.left[id]
	for b != nil && b.left > 0 {
		n := min(b.left, b.room, s.room, 16<<10)
		if n <= 0 {
			return nil
		}
		b.left, b.room, s.room = b.left-n, b.room-n, s.room-n
		if err := s.framer.WriteData(id, false, make([]byte, n)); err != nil {
			return err
		}
	}
	return nil
}

// post opens a stream, and sends its body.
func (s *streams) post() error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := [][2]string{{":method", s.ask.method}, {":scheme", "http"}, {":authority", "shop"}, {":path", s.ask.path}}
	if s.ask.coding != "" {
		fields = append(fields, [2]string{"accept-encoding", s.ask.coding})
	}
	for _, field := range fields {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	id := s.next
	s.next += 2
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: s.ask.body == 0}); err != nil {
		return err
	}
	s.left[id] = &sending{left: s.ask.body, room: s.first}
	if err := s.send(id); err != nil {
		return err
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
	case *http2.WindowUpdateFrame:
		if b := s.left[frame.StreamID]; b != nil {
			b.room += int(frame.Increment)
			return s.send(frame.StreamID)
		}
		s.room += int(frame.Increment)
		for id := range s.left {
			if err := s.send(id); err != nil {
				return err
			}
		}
	case *http2.RSTStreamFrame:
		delete(s.left, frame.StreamID)
		s.open--
		s.flood.open.Add(-1)
		s.flood.ended.Add(1)
		pause(s.flood.ctx, 5*time.Millisecond)
		return s.post()
	}
	return nil
}
