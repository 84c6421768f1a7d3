package redirect

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	waitLimit = 20 * time.Second
	pod4      = "10.199.7.2"
	pod6      = "fd00:199:7::2"
)

// network is a pod's network namespace and a client's, joined by a veth pair.
type network struct{ pod, client string }

// newNetwork creates the namespaces. These tests need root.
func newNetwork(t *testing.T) network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test creates network namespaces: run it as root (the other tests of the package do not need it)")
	}
	n := network{fmt.Sprintf("postern-pod-%d", os.Getpid()), fmt.Sprintf("postern-client-%d", os.Getpid())}
	for _, name := range []string{n.pod, n.client} {
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "del", name) })
		ip(t, "-n", name, "link", "set", "lo", "up")
	}
	ip(t, "-n", n.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", n.client)
	addresses := map[string][]string{n.pod: {pod4 + "/24", pod6 + "/64"}, n.client: {"10.199.7.1/24", "fd00:199:7::1/64"}}
	for name, list := range addresses {
		for _, address := range list {
			args := []string{"-n", name, "addr", "add", address, "dev", "eth0"}
			if strings.Contains(address, "::") {
				args = append(args, "nodad")
			}
			ip(t, args...)
		}
		ip(t, "-n", name, "link", "set", "eth0", "up")
	}
	return n
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// within runs f on a thread in the named namespace; sockets that f opens stay there. The thread ends afterwards.
func within(t *testing.T, name string, f func() error) {
	t.Helper()
	if err := enter(name, f); err != nil {
		t.Fatal(err)
	}
}

// enter is within for other goroutines than the test's.
func enter(name string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		ns, err := os.Open("/run/netns/" + name)
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering %s: %w", name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// dial connects from the namespace name. Go's dialer may use another thread, so the socket is created by hand.
func dial(t *testing.T, name, addr string) (conn net.Conn, err error) {
	t.Helper()
	within(t, name, func() error {
		target, parseErr := net.ResolveTCPAddr("tcp", addr)
		if parseErr != nil {
			return parseErr
		}
		conn, err = connect(target)
		return nil
	})
	if err == nil {
		conn.SetDeadline(time.Now().Add(waitLimit))
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func connect(target *net.TCPAddr) (net.Conn, error) { return connectFrom(from{}, target) }

// from is the origin of a connection.
type from struct {
	// source is the address, of IPv4; the zero Addr lets the kernel choose.
	source netip.Addr
	// mark is the socket's mark. With one, source may be an address of another host.
	mark int
	// seconds is how long connecting may take; 0 is 3.
	seconds int64
}

func connectFrom(from from, target *net.TCPAddr) (net.Conn, error) {
	family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: target.Port, Addr: [16]byte(target.IP.To16())})
	if four := target.IP.To4(); four != nil {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: target.Port, Addr: [4]byte(four)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	timeout := unix.Timeval{Sec: cmp.Or(from.seconds, 3)} // connecting within one machine succeeds at once or never
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return nil, err
	}
	if err := from.set(fd); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, address); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

func (f from) set(fd int) error {
	if f.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, f.mark); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
			return err
		}
	}
	if !f.source.IsValid() {
		return nil
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: f.source.As4()})
}
