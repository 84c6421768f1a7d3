package listen

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/conn/capacity"
)

const waitLimit = 20 * time.Second

// harness is a Set that records its calls.
type harness struct {
	*Set
	decision atomic.Uint32
	refusals chan Refusal
	binds    chan error
	tcp      func(*Conn)
}

func start(t *testing.T, maxConns int) *harness {
	t.Helper()
	if maxConns == 0 {
		maxConns = defaultMax
	}
	h := &harness{refusals: make(chan Refusal, 100), binds: make(chan error, 100)}
	set, err := New(Config{
		Decide:   func(netip.AddrPort) Decision { return Decision(h.decision.Load()) },
		TCP:      func(c *Conn) { h.tcp(c) },
		Places:   capacity.New(capacity.Config{Limits: capacity.Limits{Max: maxConns, MaxPerAddress: defaultMax}}),
		OnRefuse: func(_ netip.AddrPort, why Refusal) { h.refusals <- why },
		OnBind:   func(_ netip.AddrPort, err error) { h.binds <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Set, h.tcp = set, func(c *Conn) { io.Copy(c, c) }
	t.Cleanup(set.Shutdown)
	return h
}

func (h *harness) plain(t *testing.T) string {
	t.Helper()
	addr, err := h.Plain("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(waitLimit))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// echoes reports whether conn's peer sends back what it receives.
func echoes(conn net.Conn) bool {
	if _, err := io.WriteString(conn, "ping"); err != nil {
		return false
	}
	var buf [4]byte
	_, err := io.ReadFull(conn, buf[:])
	return err == nil && string(buf[:]) == "ping"
}

// resetBy returns the error of a client at addr: the reset may arrive before or after connect returns.
func resetBy(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	_, err = conn.Read(make([]byte, 1))
	return err
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(waitLimit):
		t.Fatal("nothing was received")
		panic("unreachable")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]Config{
		"no Decide": {TCP: func(*Conn) {}}, "no TCP": {Decide: func(netip.AddrPort) Decision { return TCP }},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDispatch(t *testing.T) {
	h := start(t, 0)
	addr := h.plain(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	})}
	go server.Serve(h.HTTP())
	t.Cleanup(func() { server.Close() })

	h.decision.Store(uint32(HTTP))
	response, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if string(body) != addr {
		t.Errorf("the handler saw the local address %q, want %q", body, addr)
	}

	h.decision.Store(uint32(TCP)) // a reload applies from the next connection on
	if !echoes(dial(t, addr)) {
		t.Error("the TCP connection was not passed on")
	}

	for _, decision := range []Decision{Refuse, 77} {
		h.decision.Store(uint32(decision))
		if err := resetBy(addr); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("decision %d: client saw %v, want a reset", decision, err)
		}
		if why := receive(t, h.refusals); why != Undeclared {
			t.Errorf("refused as %q", why)
		}
	}

	server.Close() // closes only the HTTP listener
	h.decision.Store(uint32(HTTP))
	if err := resetBy(addr); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the server closed, client saw %v", err)
	}
	if why := receive(t, h.refusals); why != Stopped {
		t.Errorf("refused as %q", why)
	}
}

func TestLocalLooksThroughWrappers(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	got := make(chan netip.AddrPort, 1)
	h.tcp = func(c *Conn) {
		local, _ := Local(wrapper{c})
		got <- local
	}
	addr := h.plain(t)
	dial(t, addr)
	if local := receive(t, got); local.String() != addr {
		t.Errorf("local address %s, want %s", local, addr)
	}
	if _, ok := Local(&net.TCPConn{}); ok {
		t.Error("a connection of another kind has an app's address")
	}
}

type wrapper struct{ *Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

// TestMaxConns: beyond the limit a client waits, and is served when another one ends. Refused connections free their place.
func TestMaxConns(t *testing.T) {
	h := start(t, 2)
	var running, most atomic.Int32
	var mu sync.Mutex
	h.tcp = func(c *Conn) {
		mu.Lock()
		most.Store(max(most.Load(), running.Add(1)))
		mu.Unlock()
		io.Copy(c, c)
		running.Add(-1)
	}
	addr, second := h.plain(t), h.plain(t)
	for range 5 { // more than MaxConns
		if err := resetBy(addr); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client saw %v, want a reset", err)
		}
	}
	h.decision.Store(uint32(TCP))
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			conn, err := net.Dial("tcp", []string{addr, second}[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(waitLimit))
			if !echoes(conn) {
				t.Error("not served")
			}
		})
	}
	clients.Wait()
	if got := most.Load(); got > 2 {
		t.Errorf("%d connections at once", got)
	}
}

func TestShutdown(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	addr := h.plain(t)
	established := dial(t, addr)
	if !echoes(established) {
		t.Fatal("not served")
	}
	h.Shutdown()
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("still listening")
	}
	if !echoes(established) {
		t.Error("the established connection was dropped")
	}
	if _, err := h.Plain("127.0.0.1:0"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening after shutdown: %v", err)
	}
	if err := h.Takeover([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, []uint16{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("taking over after shutdown: %v", err)
	}
	if len(h.Addrs()) != 0 {
		t.Errorf("addresses %v are reported as bound", h.Addrs())
	}
	h.Shutdown() // a second call has no effect
}

// TestShutdownWhileFull: a connection that waits for a place when the Set shuts down is reset, and Shutdown does not wait for it.
func TestShutdownWhileFull(t *testing.T) {
	h := start(t, 1)
	h.decision.Store(uint32(TCP))
	addr := h.plain(t)
	if !echoes(dial(t, addr)) {
		t.Fatal("not served")
	}
	waiting := dial(t, addr)
	h.Shutdown()
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("served beyond the limit")
	}
}

func TestPlainErrors(t *testing.T) {
	h := start(t, 0)
	taken := h.plain(t)
	for name, addr := range map[string]string{"no port": "127.0.0.1", "bad port": "127.0.0.1:x", "in use": taken, "not ours": "192.0.2.1:1"} {
		if _, err := h.Plain(addr); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPlainOnAllAddresses(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	bound, err := h.Plain(":0")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range h.Addrs() {
		if addr.Port() != bound.Port() {
			t.Errorf("%s is bound, want only port %d", addr, bound.Port())
		}
		host := "127.0.0.1"
		if addr.Addr().Is6() {
			host = "::1"
		}
		if !echoes(dial(t, netip.AddrPortFrom(netip.MustParseAddr(host), bound.Port()).String())) {
			t.Errorf("not served on %s", addr)
		}
	}
}

// TestRedirectRefusesDirectConnections: a connection that was not redirected would be proxied to the sidecar itself.
func TestRedirectRefusesDirectConnections(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	if err := h.Redirect(0); err != nil {
		t.Fatal(err)
	}
	for _, addr := range h.Addrs() {
		host := "127.0.0.1"
		if addr.Addr().Is6() {
			host = "::1"
		}
		err := resetBy(netip.AddrPortFrom(netip.MustParseAddr(host), addr.Port()).String())
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: client saw %v, want a reset", addr, err)
		}
		if why := receive(t, h.refusals); why != Direct && why != Untracked {
			t.Errorf("refused as %q", why)
		}
	}
}
