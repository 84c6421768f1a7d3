package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/api/compiled"
)

// drainingApp has a WebSocket that echoes, and streams: at /events until its client disconnects, at /short until finish
// is closed. closed receives how WebSockets ended.
type drainingApp struct {
	closed chan error
	finish chan struct{}
}

func newDrainingApp() *drainingApp {
	return &drainingApp{closed: make(chan error, 10), finish: make(chan struct{})}
}

func (a *drainingApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ws" {
		a.echo(w, r)
		return
	}
	_, _ = io.WriteString(w, "event\n")
	_ = http.NewResponseController(w).Flush()
	finish := a.finish
	if r.URL.Path == "/events" {
		finish = nil
	}
	select {
	case <-r.Context().Done():
	case <-finish:
		_, _ = io.WriteString(w, "last event\n")
	}
}

func (a *drainingApp) echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		a.closed <- err
		return
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil {
			a.closed <- err
			return
		}
		if err := c.Write(r.Context(), kind, b); err != nil {
			a.closed <- err
			return
		}
	}
}

// draining is a sidecar in front of the app with a drainTimeout.
func draining(t *testing.T, app http.Handler, timeout time.Duration) *running {
	return startStandalone(t, makeDocument(func(p *compiled.Policy) { p.Sidecar.DrainTimeout = compiled.Duration(timeout) }), app)
}

func dialWebSocket(t *testing.T, ctx context.Context, address string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	echoes(t, ctx, c, "before")
	return c
}

func echoes(t *testing.T, ctx context.Context, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(ctx); err != nil || string(b) != text {
		t.Fatalf("echo %q, %v", b, err)
	}
}

// TestDrainCoversWebSockets: a WebSocket works during the drain. At its end both ends get the status 1001.
func TestDrainCoversWebSockets(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	app := newDrainingApp()
	r := draining(t, app, 5*time.Second)
	c := dialWebSocket(t, ctx, r.address)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	awaitClosed(r.address)
	echoes(t, ctx, c, "during the drain")
	_, _, err := c.Read(ctx)
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("the client's status is %d (%v); want 1001", got, err)
	}
	if err := <-app.closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the app saw %v; want 1001", err)
	}
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "1 upgraded connections were still open") {
		t.Errorf("stopping: %v", err)
	}
}

// TestDrainEndsWithTheLastWebSocket: the drain is not longer than its connections.
func TestDrainEndsWithTheLastWebSocket(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := draining(t, newDrainingApp(), time.Hour)
	c := dialWebSocket(t, ctx, r.address)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	awaitClosed(r.address)
	echoes(t, ctx, c, "during the drain")
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the drain continues without connections")
	}
}

// TestDrainCoversStreams: a stream that ends within drainTimeout is complete, and another one is ended with it.
func TestDrainCoversStreams(t *testing.T) {
	t.Parallel()
	app := newDrainingApp()
	r := draining(t, app, 5*time.Second)
	short, endless := stream(t, "http://"+r.address+"/short"), stream(t, "http://"+r.address+"/events")
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	awaitClosed(r.address)
	close(app.finish)
	if b, err := io.ReadAll(short); err != nil || string(b) != "last event\n" {
		t.Errorf("the short stream: %q, %v", b, err)
	}
	if _, err := io.ReadAll(endless); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the endless stream ended with %v; it must not look complete", err)
	}
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "still open at the end of drainTimeout") {
		t.Errorf("stopping: %v", err)
	}
}

// stream returns the body of a response after its first event.
func stream(t *testing.T, url string) io.Reader {
	t.Helper()
	resp, err := (&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "event\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return body
}

// h2Get is HEADERS of stream 1 with GET, http, the path / and the authority x.
const h2Get = "\x00\x00\x06\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x01\x01x"

// TestDrainSendsGOAWAY: a client of HTTP/2 gets GOAWAY, and its open stream lives until drainTimeout.
func TestDrainSendsGOAWAY(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	app.Config.Protocols = &http.Protocols{}
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	c := standaloneConfig(t, makeDocument(func(p *compiled.Policy) { p.Sidecar.DrainTimeout = compiled.Duration(5 * time.Second) }), app.URL)
	r := start(t, c.Inbound.(plain).address, c)
	conn := connect(t, "127.0.0.1", r.address, h2Preface+h2Get)
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	types := string(framesOf(t, conn))
	if !strings.Contains(types, "\x07") {
		t.Errorf("frames of types %v; want GOAWAY (7)", []byte(types))
	}
	if err := <-stopped; err == nil || !strings.Contains(err.Error(), "still open at the end of drainTimeout") {
		t.Errorf("stopping: %v", err)
	}
}

// TestOpenWebSocketNeedsNoHandlers: while one is open, its handlers have returned. The request is over for the log, the metrics and the drain when it
// is closed.
func TestOpenWebSocketNeedsNoHandlers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := startStandalone(t, makeDocument(func(p *compiled.Policy) { p.Sidecar.AccessLog = "All" }), newDrainingApp())
	inFlight := func(want string) {
		t.Helper()
		for page := ""; !strings.Contains(page, "\npostern_http_requests_in_flight "+want+"\n"); {
			var err error
			if _, page, err = r.ask("/metrics"); err != nil || ctx.Err() != nil {
				t.Fatalf("in flight are not %s: %v", want, err)
			}
		}
	}
	c := dialWebSocket(t, ctx, strings.TrimPrefix(r.address, "http://"))
	stacks := make([]byte, 8<<20)
	for strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "server.(*enforcer).ServeHTTP(") {
		if ctx.Err() != nil {
			t.Fatal("the handlers have not returned")
		}
	}
	inFlight("1")
	if log := r.log.text(); strings.Contains(log, "path=/ws") {
		t.Errorf("it is in the access log while it is open:\n%s", log)
	}
	echoes(t, ctx, c, "after")
	_ = c.Close(websocket.StatusNormalClosure, "")
	inFlight("0")
	r.log.await(t, 1, "path=/ws")
}

// TestDrainFindsFramesAfterHead: the head of the response is no frame, whatever its length is. An idle WebSocket gets the close frame behind it.
func TestDrainFindsFramesAfterHead(t *testing.T) {
	t.Parallel()
	r := draining(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Pad: %s\r\n\r\n", r.URL.Query().Get("pad"))
		_, _ = io.Copy(io.Discard, conn)
	}), time.Second)
	clients := map[int]*bufio.Reader{}
	for pad := 1; pad <= 40; pad++ {
		conn := dial(t, r.address, "GET /?pad="+strings.Repeat("p", pad)+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		clients[pad] = bufio.NewReader(conn)
		if res, err := http.ReadResponse(clients[pad], nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	go func() { _ = r.stop() }()
	for pad, in := range clients {
		if b, err := io.ReadAll(in); string(b) != "\x88\x02\x03\xe9" {
			t.Errorf("pad %d: the client got %x, %v; want a close frame with the status 1001", pad, b, err)
		}
	}
}
