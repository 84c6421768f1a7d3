package passthrough

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

const waitLimit = 20 * time.Second

var local = netip.MustParseAddrPort("192.0.2.1:5432")

// rig is a proxy in front of an app.
type rig struct {
	proxy  *Proxy
	ends   chan Stats
	ctx    context.Context
	cancel context.CancelFunc
	addr   string
}

// start runs app behind a proxy with config. If app is nil, nothing listens on the target.
func start(t *testing.T, config Config, app func(net.Conn)) *rig {
	t.Helper()
	target := listener(t)
	if app == nil {
		target.Close()
	} else {
		go accept(target, app)
	}
	r := &rig{ends: make(chan Stats, 100)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	t.Cleanup(r.cancel)
	config.Target = func(got netip.AddrPort) string {
		if got != local {
			t.Errorf("asked for the target of %s", got)
		}
		return target.Addr().String()
	}
	config.OnEnd = func(s Stats) { r.ends <- s }
	proxy, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.proxy = proxy
	front := listener(t)
	r.addr = front.Addr().String()
	go accept(front, func(c net.Conn) { proxy.Serve(r.ctx, wrapped{c.(*net.TCPConn)}, local) })
	return r
}

// wrapped is a connection like those of sidecar/conn/listen.
type wrapped struct{ *net.TCPConn }

func (w wrapped) TCP() *net.TCPConn { return w.TCPConn }

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// reset returns the error of a client at the proxy; a reset may arrive before connect returns.
func (r *rig) reset() error {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	_, err = conn.Read(make([]byte, 1))
	return err
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

func (r *rig) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(waitLimit))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func (r *rig) end(t *testing.T) Stats {
	t.Helper()
	select {
	case s := <-r.ends:
		return s
	case <-time.After(waitLimit):
		t.Fatal("the connection did not end")
		panic("unreachable")
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	io.Copy(conn, conn)
}

// open returns a connection that has carried bytes in both directions.
func (r *rig) open(t *testing.T) *net.TCPConn {
	t.Helper()
	conn := r.dial(t)
	io.WriteString(conn, "ping")
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

// TestHalfClose: the client closes its half first, and the complete response still arrives. The app reads slowly
// enough for the pipe to fill.
func TestHalfClose(t *testing.T) {
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB, a chunk exactly
	r := start(t, Config{}, func(conn net.Conn) {
		defer conn.Close()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the app read %d bytes, %v", len(got), err)
		}
		conn.Write(append([]byte("got:"), got...))
	})
	conn := r.dial(t)
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	conn.CloseWrite()
	response, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(response[4:], sent) {
		t.Errorf("the client read %d bytes, %v", len(response), err)
	}
	s := r.end(t)
	if s.End != Finished || s.Local != local || s.FromClient != int64(len(sent)) || s.ToClient != int64(len(sent))+4 {
		t.Errorf("stats %+v", s)
	}
}

func TestAppEndsFirst(t *testing.T) {
	got := make(chan string, 1)
	r := start(t, Config{}, func(conn net.Conn) {
		io.WriteString(conn, "bye")
		conn.(*net.TCPConn).CloseWrite()
		rest, _ := io.ReadAll(conn)
		got <- string(rest)
		conn.Close()
	})
	conn := r.dial(t)
	if greeting, err := io.ReadAll(conn); string(greeting) != "bye" || err != nil {
		t.Errorf("the client read %q, %v", greeting, err)
	}
	io.WriteString(conn, "still here")
	conn.Close()
	if rest := <-got; rest != "still here" {
		t.Errorf("the app read %q", rest)
	}
	if s := r.end(t); s.End != Finished {
		t.Errorf("stats %+v", s)
	}
}

// TestResetByTheApp: a reset is forwarded as a reset, because a truncated stream must not look complete.
func TestResetByTheApp(t *testing.T) {
	r := start(t, Config{}, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 4))
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	})
	conn := r.dial(t)
	io.WriteString(conn, "ping")
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Broken {
		t.Errorf("stats %+v", s)
	}
}

func TestResetByTheClient(t *testing.T) {
	saw := make(chan error, 1)
	r := start(t, Config{}, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 4))
		conn.Write([]byte("pong"))
		_, err := conn.Read(make([]byte, 1))
		saw <- err
		conn.Close()
	})
	conn := r.open(t)
	conn.SetLinger(0)
	conn.Close()
	if err := <-saw; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the app saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Broken {
		t.Errorf("stats %+v", s)
	}
}

func TestUnreachableApp(t *testing.T) {
	r := start(t, Config{}, nil)
	if err := r.reset(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Unreachable {
		t.Errorf("stats %+v", s)
	}
}

func TestIdle(t *testing.T) {
	r := start(t, Config{IdleTimeout: 100 * time.Millisecond}, echo)
	conn := r.open(t)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Idle || s.FromClient != 4 || s.ToClient != 4 {
		t.Errorf("stats %+v", s)
	}
}

// TestOneWayTrafficIsNotIdle: an idle direction does not end a connection whose other direction is active.
func TestOneWayTrafficIsNotIdle(t *testing.T) {
	const idle, ticks = 400 * time.Millisecond, 20
	r := start(t, Config{IdleTimeout: idle}, func(conn net.Conn) {
		defer conn.Close()
		for range ticks {
			if _, err := io.WriteString(conn, "."); err != nil {
				return
			}
			time.Sleep(idle / 8)
		}
	})
	conn := r.dial(t)
	got, err := io.ReadAll(conn)
	if len(got) != ticks || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestStalledReceiver: a receiver that reads nothing does not keep its connection forever.
func TestStalledReceiver(t *testing.T) {
	r := start(t, Config{IdleTimeout: 100 * time.Millisecond}, func(conn net.Conn) {
		defer conn.Close()
		for {
			if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	r.dial(t) // and reads nothing
	if s := r.end(t); s.End != Idle {
		t.Errorf("stats %+v", s)
	}
}

func TestMaxConns(t *testing.T) {
	r := start(t, Config{MaxConns: 1}, echo)
	first := r.open(t)
	if err := r.reset(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the second client saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Crowded {
		t.Errorf("stats %+v", s)
	}
	first.Close()
	if s := r.end(t); s.End != Finished {
		t.Errorf("stats %+v", s)
	}
	r.open(t)
}

func TestContextEnds(t *testing.T) {
	r := start(t, Config{}, echo)
	conn := r.open(t)
	r.cancel()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if s := r.end(t); s.End != Stopped {
		t.Errorf("stats %+v", s)
	}
	if err := r.reset(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new client saw %v, want a reset", err)
	}
	if s := r.end(t); s.End != Stopped {
		t.Errorf("stats after the context's end %+v", s)
	}
}

func TestShutdown(t *testing.T) {
	r := start(t, Config{}, echo)
	conn := r.open(t)
	done := make(chan error, 1)
	go func() { done <- r.proxy.Shutdown(context.Background()) }()
	for refused := false; !refused; { // the shutdown may not have begun
		late, err := net.Dial("tcp", r.addr)
		if err != nil { // the reset came before connect returned
			break
		}
		late.SetDeadline(time.Now().Add(waitLimit))
		io.WriteString(late, "x")
		_, err = late.Read(make([]byte, 1))
		refused = err != nil
		late.Close()
	}
	io.WriteString(conn, "ping")
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Errorf("the running connection was aborted: %v", err)
	}
	conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownAborts(t *testing.T) {
	r := start(t, Config{}, echo)
	conn := r.open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.proxy.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// TestWithoutSockets: connections that are not sockets are forwarded too.
func TestWithoutSockets(t *testing.T) {
	r := start(t, Config{}, echo)
	client, server := net.Pipe()
	go r.proxy.Serve(r.ctx, server, local)
	client.SetDeadline(time.Now().Add(waitLimit))
	io.WriteString(client, "ping")
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Error(err)
	}
	client.Close()
	if s := r.end(t); s.FromClient != 4 || s.ToClient != 4 {
		t.Errorf("stats %+v", s)
	}
}
