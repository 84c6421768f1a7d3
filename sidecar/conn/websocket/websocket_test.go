package websocket

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// frame returns a frame with a payload; mask says that it is a client's.
func frame(opcode byte, payload []byte, mask bool) []byte {
	out := []byte{0x80 | opcode}
	bit := byte(0)
	if mask {
		bit = maskBit
	}
	switch n := len(payload); {
	case n < 126:
		out = append(out, bit|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, bit|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, bit|127), uint64(n))
	}
	if mask {
		out = append(out, 0, 0, 0, 0)
	}
	return append(out, payload...)
}

func TestScanner(t *testing.T) {
	for name, size := range map[string]int{"empty": 0, "short": 125, "two bytes of length": 126, "most of these": 65535, "eight bytes of length": 65536} {
		for _, mask := range []bool{false, true} {
			for _, piece := range []int{1, 3, 1 << 20} {
				var s scanner
				text := append(frame(2, make([]byte, size), mask), frame(8, []byte{3, 232}, mask)...)
				end := len(text) - len(frame(8, []byte{3, 232}, mask))
				for at := 0; at < len(text); {
					n := s.frame(text[at:min(at+piece, len(text))])
					if at += n; s.between() != (at == end || at == len(text)) || s.closed != (at == len(text)) {
						t.Fatalf("%s, masked %v, by %d: at %d of %d between %v, closed %v", name, mask, piece, at, len(text), s.between(), s.closed)
					}
				}
			}
		}
	}
}

// FuzzScanner: whatever arrives in whatever pieces, the scanner finds the same ends, and always makes progress.
func FuzzScanner(f *testing.F) {
	f.Add(append(frame(1, []byte("hello"), true), frame(8, nil, true)...), uint8(1))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		var whole, pieces scanner
		whole.all(text)
		for rest := text; len(rest) > 0; {
			n := pieces.frame(rest[:min(int(piece)+1, len(rest))])
			if n <= 0 {
				t.Fatal("no progress")
			}
			rest = rest[n:]
		}
		if whole.between() != pieces.between() || whole.closed != pieces.closed || whole.left != pieces.left {
			t.Errorf("%+v in one piece, %+v in pieces of %d", whole, pieces, piece)
		}
	})
}

// ends are the client of a Conn, and a proxy that copies between the Conn and an app.
type ends struct {
	client, app net.Conn
	conn        *Conn
	closed      chan struct{}
}

func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

// accepted is the head of a response that accepts an upgrade.
const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

func open(t *testing.T) *ends {
	e := upgrading(t)
	send(t, e.conn, []byte(accepted))
	expect(t, "the client", e.client, []byte(accepted))
	return e
}

// upgrading returns ends before the head of the response.
func upgrading(t *testing.T) *ends {
	client, server := pair(t)
	backend, app := pair(t)
	e := &ends{client: client, app: app, closed: make(chan struct{})}
	e.conn = New(server, func() { close(e.closed) })
	done := make(chan struct{}, 2)
	go func() { io.Copy(backend, e.conn); backend.(*net.TCPConn).CloseWrite(); done <- struct{}{} }()
	go func() { io.Copy(e.conn, backend); done <- struct{}{} }()
	go func() { <-done; <-done; backend.Close(); e.conn.Close() }()
	return e
}

func send(t *testing.T, to net.Conn, text []byte) {
	t.Helper()
	if _, err := to.Write(text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, who string, from net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(from, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s got %x, %v; want %x", who, got[:n], err, want)
	}
}

func TestGoAway(t *testing.T) {
	const grace = 10 * time.Second
	up, down := frame(2, bytes.Repeat([]byte("u"), 3000), true), frame(2, bytes.Repeat([]byte("d"), 3000), false)
	tests := map[string]struct{ upHead, downHead int }{
		"between frames":            {0, 0},
		"within the client's frame": {1000, 0},
		"within the app's frame":    {0, 1000},
		"within both heads":         {1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			send(t, e.client, up)
			expect(t, "the app", e.app, up)
			send(t, e.app, down)
			expect(t, "the client", e.client, down)
			send(t, e.client, up[:tt.upHead])
			expect(t, "the app", e.app, up[:tt.upHead])
			send(t, e.app, down[:tt.downHead])
			expect(t, "the client", e.client, down[:tt.downHead])

			e.conn.GoAway(grace)
			if tt.upHead > 0 {
				send(t, e.client, append(up[tt.upHead:], up...)) // the second frame comes too late
				expect(t, "the app", e.app, up[tt.upHead:])
			}
			expect(t, "the app", e.app, maskedGoingAway[:])
			if tt.downHead > 0 {
				send(t, e.app, append(down[tt.downHead:], down...))
				expect(t, "the client", e.client, down[tt.downHead:])
			}
			expect(t, "the client", e.client, goingAway[:])
			send(t, e.client, frame(8, []byte{3, 0xe9}, true))
			send(t, e.app, frame(8, []byte{3, 0xe9}, false))
			if b, err := io.ReadAll(e.app); err != nil || len(b) > 0 {
				t.Errorf("the app got %x, %v; want the end", b, err)
			}
			e.app.Close()
			if b, err := io.ReadAll(e.client); err != nil || len(b) > 0 {
				t.Errorf("the client got %x, %v; want the end", b, err)
			}
			<-e.closed
		})
	}
}

// TestHeadIsNoFrame: the close frame comes behind the head of the response, whatever the length of the head is, and in whatever pieces it comes.
func TestHeadIsNoFrame(t *testing.T) {
	for name, early := range map[string]int{"before the head": 0, "within the head": 7, "within the end of the head": len(accepted) - 2, "after the head": len(accepted)} {
		t.Run(name, func(t *testing.T) {
			e := upgrading(t)
			if early > 0 {
				send(t, e.conn, []byte(accepted)[:early])
			}
			e.conn.GoAway(20 * time.Second)
			if early < len(accepted) {
				send(t, e.conn, []byte(accepted)[early:])
			}
			expect(t, "the client", e.client, append([]byte(accepted), goingAway[:]...))
		})
	}
	var s scanner
	for _, text := range []string{"\r\r\n\r\n", "\r\n\n\r\n\r\n", "a\r\nb\r\n\r\n"} {
		if s = (scanner{heading: true}); s.frame([]byte(text+"\x88")) != len(text) || !s.between() {
			t.Errorf("%q is not a whole head: %+v", text, s)
		}
	}
}

// TestSilentEnds: ends that do not respond to the close frame lose their connection after the grace.
func TestSilentEnds(t *testing.T) {
	e := open(t)
	e.conn.GoAway(50 * time.Millisecond)
	expect(t, "the client", e.client, goingAway[:])
	expect(t, "the app", e.app, maskedGoingAway[:])
	if b, err := io.ReadAll(e.app); err != nil || len(b) > 0 {
		t.Errorf("the app got %x, %v; want the end", b, err)
	}
	e.app.Close()
	<-e.closed
}

// TestAppHasClosed: an app that has sent its own close frame keeps its status.
func TestAppHasClosed(t *testing.T) {
	e := open(t)
	own := frame(8, []byte{3, 0xe8}, false)
	send(t, e.app, own)
	expect(t, "the client", e.client, own)
	e.conn.GoAway(10 * time.Second)
	reply := frame(8, []byte{3, 0xe8}, true)
	send(t, e.client, reply)
	e.app.Close()
	if b, err := io.ReadAll(e.client); err != nil || len(b) > 0 {
		t.Errorf("the client got %x, %v; want the end", b, err)
	}
}
