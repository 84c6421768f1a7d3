package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// closingApp accepts every upgrade, sends a close frame and ends its sending half, as an app does that waits for the client's. What
// the client sends after that is in got, up to its end.
type closingApp struct{ got chan string }

func (a *closingApp) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.got <- err.Error()
		return
	}
	defer conn.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x88\x02\x03\xe8")
	_ = rw.Flush()
	_ = conn.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(rw)
	a.got <- string(b)
}

// upgraded returns a connection that the app has upgraded, after the app's end.
func upgradedConn(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	if rest, err := io.ReadAll(r); string(rest) != "\x88\x02\x03\xe8" || err != nil {
		t.Fatalf("the client read %q, %v; want the app's close frame and its end", rest, err)
	}
	return conn
}

// TestCloseFrameReachesApp: an app that has ended its half still gets the client's close frame (RFC 6455 §7.1.1).
func TestCloseFrameReachesApp(t *testing.T) {
	app := &closingApp{got: make(chan string, 1)}
	s := draining(t, app, time.Second)
	conn := upgradedConn(t, s.address)
	const reply = "\x88\x82\x00\x00\x00\x00\x03\xe8"
	if _, err := io.WriteString(conn, reply); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	if got := <-app.got; got != reply {
		t.Errorf("the app got %q; want the client's close frame", got)
	}
}

// TestEndedUpgradeEnds: a client that ignores the app's end does not keep its place.
func TestEndedUpgradeEnds(t *testing.T) {
	app := &closingApp{got: make(chan string, 1)}
	s := draining(t, app, time.Second)
	upgradedConn(t, s.address)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	select {
	case got := <-app.got:
		if strings.TrimSpace(got) != "" {
			t.Errorf("the app got %q", got)
		}
	case <-ctx.Done():
		t.Error("the connection is still open")
	}
}
