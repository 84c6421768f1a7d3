package listen

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPortIsNotShared: another process of the same user must not be able to receive some of the connections.
func TestPortIsNotShared(t *testing.T) {
	h := start(t, 0)
	raw, err := h.bound[netip.MustParseAddrPort(h.plain(t))].tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT); on != 0 || err != nil {
			t.Errorf("SO_REUSEPORT is %d, %v", on, err)
		}
		if protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); protocol != unix.IPPROTO_TCP || err != nil {
			t.Errorf("protocol %d, %v, want plain TCP", protocol, err)
		}
	})
}

// TestOutOfFileDescriptors: without file descriptors the acceptor waits, and continues when there are some.
func TestOutOfFileDescriptors(t *testing.T) {
	logged := make(chan string, 100)
	h := start(t, 0)
	h.log = slog.New(slog.NewTextHandler(lines(logged), nil))
	h.decision.Store(uint32(TCP))
	addr := h.plain(t)
	conn := dial(t, addr)
	if !echoes(conn) {
		t.Fatal("not served")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	none := limit
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	defer restore()
	port := netip.MustParseAddrPort(addr).Port()
	if err := unix.Connect(client, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if line := receive(t, logged); !strings.Contains(line, "accepting connections") {
		t.Errorf("logged %q", line)
	}
	restore()
	unix.Write(client, []byte("ping"))
	unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(waitLimit / time.Second)})
	var buf [4]byte
	if n, err := unix.Read(client, buf[:]); n != 4 || err != nil {
		t.Errorf("read %d, %v after descriptors were available again", n, err)
	}
}

// lines is a writer that passes each write on if there is room.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}
