package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func echo(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	}
}

func TestWebSocket(t *testing.T) {
	mark := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Stage", "seen")
			return next.ServeHTTP(w, r)
		})
	}
	d := doorTo(t, echo(t), mark)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+d.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := res.Header.Get("X-Stage"); got != "seen" {
		t.Errorf("X-Stage %q on the 101", got)
	}
	for _, text := range []string{"one", strings.Repeat("x", 30000)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, b, err := c.Read(ctx)
		if err != nil || string(b) != text {
			t.Fatalf("echo of %d bytes: %d bytes, %v", len(text), len(b), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing: %v", err)
	}
	if err := wait(t, d.errs, "the end of the exchange"); err != nil {
		t.Errorf("stage returned %v", err)
	}
}

func TestCloseEndsWebSockets(t *testing.T) {
	d := doorTo(t, echo(t))
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+d.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	d.proxy.Close()
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection is still open: %v", err)
	}
	wait(t, d.errs, "the end of the exchange")
}

// TestOtherUpgradesAreStripped: only a complete WebSocket handshake may open a tunnel. No other Upgrade reaches the app.
func TestOtherUpgradesAreStripped(t *testing.T) {
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	tests := map[string]string{
		"h2c":               "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"h2c and websocket": "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Version: 13\r\n" + key,
		"two Upgrade lines": "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n" + key,
		"another protocol":  "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: SPDY/3.1\r\n",
		"unprintable":       "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: web\u00e9socket\r\n",
		"no key":            "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
		"short key":         "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
		"two keys":          "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + key,
		"old version":       "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" + key,
		"not a GET":         "DELETE / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key,
		"with a body":       "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nTransfer-Encoding: chunked\r\n" + key,
		"HTTP/1.0":          "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key,
		"not in Connection": "GET / HTTP/1.1\r\nConnection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key,
	}
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "up=%q conn=%q h2=%q", r.Header["Upgrade"], r.Header["Connection"], r.Header["Http2-Settings"])
	})
	for name, head := range tests {
		t.Run(name, func(t *testing.T) {
			text := head + "Host: x\r\n\r\n"
			if strings.Contains(head, "chunked") {
				text += "0\r\n\r\n"
			}
			got := raw(t, d.addr, text)
			conn := "[]"
			if strings.Contains(head, "chunked") {
				conn = `["close"]` // the app may not read the body
			}
			if !strings.Contains(got, " 200 OK\r\n") || !strings.Contains(got, `up=[] conn=`+conn+` h2=[]`) {
				t.Errorf("response %q", got)
			}
		})
	}
}

// TestAppSwitchesToAnotherProtocol: an app that switches to a protocol that was not requested gets no tunnel.
func TestAppSwitchesToAnotherProtocol(t *testing.T) {
	d := open(t, rawApp(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\ntunnel"), nil)
	got := raw(t, d.addr, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") || strings.Contains(got, "tunnel") {
		t.Errorf("response %q", got)
	}
}

// TestWebSocketRefusedByTheApp: a refused handshake is an ordinary response, and the connection can carry further requests.
func TestWebSocketRefusedByTheApp(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	})
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	br := bufio.NewReader(conn)
	for range 2 {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 403 || string(b) != "no" {
			t.Errorf("%d %q", res.StatusCode, b)
		}
	}
}
