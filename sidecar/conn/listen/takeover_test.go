package listen

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/posterndev/postern/test/freeport"
)

// podIPs are loopback addresses other than the app's.
func podIPs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
}

// freePort returns a port without a listener at any address.
func freePort(t *testing.T) uint16 {
	t.Helper()
	return netip.MustParseAddrPort(freeport.Address(t)).Port()
}

func on(ip netip.Addr, port uint16) string { return netip.AddrPortFrom(ip, port).String() }

func TestTakeoverReconciles(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	a, b := freePort(t), freePort(t)
	if err := h.Takeover(podIPs(), []uint16{a}); err != nil {
		t.Fatal(err)
	}
	kept := h.bound[netip.AddrPortFrom(podIPs()[0], a)]
	established := dial(t, on(podIPs()[1], a))
	if !echoes(established) {
		t.Fatal("not served")
	}
	if err := h.Takeover(podIPs(), []uint16{b, a, b}); err != nil {
		t.Fatal(err)
	}
	if h.bound[netip.AddrPortFrom(podIPs()[0], a)] != kept {
		t.Error("a listener that stays was bound again")
	}
	for _, ip := range podIPs() {
		if !echoes(dial(t, on(ip, b))) {
			t.Errorf("the port added is not served on %s", ip)
		}
	}
	if err := h.Takeover(podIPs()[1:], []uint16{b}); err != nil {
		t.Fatal(err)
	}
	if want := []netip.AddrPort{netip.AddrPortFrom(podIPs()[1], b)}; !slices.Equal(h.Addrs(), want) {
		t.Errorf("bound %v, want %v", h.Addrs(), want)
	}
	if conn, err := net.Dial("tcp", on(podIPs()[1], a)); err == nil {
		conn.Close()
		t.Error("the port removed still listens")
	}
	if !echoes(established) {
		t.Error("a connection of the port removed was dropped")
	}
	if err := h.Takeover(podIPs(), []uint16{a, b}); err != nil { // wanted again
		t.Error(err)
	}
}

// TestTakeoverBesideTheApp: the app can bind the loopback address next to the sidecar, but not the wildcard address.
func TestTakeoverBesideTheApp(t *testing.T) {
	h := start(t, 0)
	port := freePort(t)
	if err := h.Takeover(podIPs(), []uint16{port}); err != nil {
		t.Fatal(err)
	}
	app, err := net.Listen("tcp", on(netip.MustParseAddr("127.0.0.1"), port))
	if err != nil {
		t.Errorf("the app cannot listen on loopback: %v", err)
	} else {
		app.Close()
	}
	if wildcard, err := net.Listen("tcp4", on(netip.IPv4Unspecified(), port)); !errors.Is(err, syscall.EADDRINUSE) {
		wildcard.Close()
		t.Errorf("the app listens on the wildcard address: %v", err)
	}
}

func TestTakeoverOfAWildcard(t *testing.T) {
	h := start(t, 0)
	h.decision.Store(uint32(TCP))
	port := freePort(t)
	app, err := net.Listen("tcp4", on(netip.IPv4Unspecified(), port))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	err = h.Takeover(podIPs()[:1], []uint16{port})
	var bind *BindError
	if !errors.As(err, &bind) || !errors.Is(err, syscall.EADDRINUSE) || bind.Addr.Port() != port {
		t.Fatalf("error %v", err)
	}
	wildcard, loopback := on(netip.IPv4Unspecified(), port), on(netip.MustParseAddr("127.0.0.1"), port)
	want := "the app listens on " + wildcard + "; under Takeover it must listen on " + loopback + " (or use Redirect)"
	if bind.Advice != want || !strings.Contains(err.Error(), want) {
		t.Errorf("advice %q, want %q", bind.Advice, want)
	}
	if err := receive(t, h.binds); !errors.As(err, &bind) {
		t.Errorf("OnBind got %v", err)
	}
	if len(h.Addrs()) != 0 {
		t.Errorf("%v are reported as bound", h.Addrs())
	}
	app.Close()
	for receive(t, h.binds) != nil {
	}
	if !echoes(dial(t, on(podIPs()[0], port))) {
		t.Error("not served after the app closed its port")
	}
}

// TestTakeoverGivesUp: the Set stops retrying a port that is no longer wanted.
func TestTakeoverGivesUp(t *testing.T) {
	h := start(t, 0)
	port := freePort(t)
	app, err := net.Listen("tcp4", on(netip.IPv4Unspecified(), port))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	if h.Takeover(podIPs(), []uint16{port}) == nil {
		t.Fatal("no error")
	}
	if err := h.Takeover(podIPs(), nil); err != nil {
		t.Fatal(err)
	}
	h.work.Wait() // the retries have ended
	if len(h.takes) != 0 {
		t.Errorf("%d addresses are still wanted", len(h.takes))
	}
}

func TestTakeoverAdvice(t *testing.T) {
	tests := map[string]struct {
		addr string
		err  error
		want string
	}{
		"IPv6 in use": {"[2001:db8::1]:80", syscall.EADDRINUSE, "the app listens on [::]:80; under Takeover it must listen on [::1]:80 (or use Redirect)"},
		"privileged":  {"192.0.2.1:80", syscall.EACCES, "port 80 is privileged; set the pod's sysctl net.ipv4.ip_unprivileged_port_start to 80 or less, or have the app use port 1024 or higher"},
		"no address":  {"192.0.2.1:80", syscall.EADDRNOTAVAIL, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr := netip.MustParseAddrPort(tt.addr)
			err := &BindError{Addr: addr, Err: tt.err, Advice: takeoverAdvice(addr, tt.err)}
			if err.Advice != tt.want || !strings.Contains(err.Error(), tt.addr) {
				t.Errorf("%v, want advice %q", err, tt.want)
			}
		})
	}
}
