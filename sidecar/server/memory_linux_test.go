package server

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/chain/chaintest"
)

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
	handshake = "Origin: https://shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

// TestMemoryOfIdleConnections holds what an open connection needs while it waits: heap and stacks, in bytes. The limits only become less.
func TestMemoryOfIdleConnections(t *testing.T) {
	if chaintest.Dropped > 0 {
		t.Skip("under the race detector pools drop values at random")
	}
	defer func(before bool) { poisonRequests = before }(poisonRequests)
	poisonRequests = false
	const n = 300
	for name, tt := range map[string]struct {
		fields, response string
		most             float64
	}{
		"between two requests": {response: appResponse + strings.Repeat("x", 1024), most: 6 << 10},
		"WebSocket":            {fields: handshake, response: switching, most: 22 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			policy, authorization := chaintest.Policy(t, chaintest.EverythingInMemory)
			c := standaloneConfig(t, policy, "http://"+bareApp(t, tt.response))
			address := c.Inbound.(plain).address
			start(t, address, c)
			clients := &bareClients{t: t, address: netip.MustParseAddrPort(address), response: tt.response, request: "GET / HTTP/1.1\r\nHost: shop.example.com\r\n" +
				"User-Agent: client/1.0\r\nAccept: application/json\r\nAuthorization: " + authorization + "\r\n" + tt.fields + "\r\n"}
			t.Cleanup(clients.close)
			clients.open(20) // what is made once
			before := inUse()
			clients.open(n)
			var each float64
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if each = (inUse() - before) / n; each <= tt.most {
					t.Logf("%.1f KiB each", each/1024)
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%.1f KiB each; want at most %.1f", each/1024, tt.most/1024)
				}
			}
		})
	}
}

// inUse returns the bytes of live objects and of stacks. What pools keep is gone after the second collection.
func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc + s.StackInuse)
}

// bareClients are clients that need no memory of Go, which would be measured with that of the sidecar.
type bareClients struct {
	t                 *testing.T
	address           netip.AddrPort
	request, response string
	fds               []int
}

// open opens n connections from several addresses, because a sidecar limits those of one. Each has got a response.
func (c *bareClients) open(n int) {
	c.t.Helper()
	buf := make([]byte, 8<<10)
	for range n {
		fd := bareSocket(c.t, [4]byte{127, 0, 1, byte(1 + len(c.fds)%100)})
		c.fds = append(c.fds, fd)
		if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(c.address.Port()), Addr: c.address.Addr().As4()}); err != nil {
			c.t.Fatal(err)
		}
		if _, err := syscall.Write(fd, []byte(c.request)); err != nil {
			c.t.Fatal(err)
		}
		if err := bareRead(fd, buf, c.response[len(c.response)-4:]); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *bareClients) close() {
	for _, fd := range c.fds {
		_ = syscall.Close(fd)
	}
}

// bareSocket returns a socket that is bound to a free port of the address.
func bareSocket(t *testing.T, address [4]byte) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: address}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// bareRead reads until the last bytes are end.
func bareRead(fd int, buf []byte, end string) error {
	for n := 0; !bytes.HasSuffix(buf[:n], []byte(end)); {
		got, err := syscall.Read(fd, buf[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return fmt.Errorf("reading: %d bytes, %w", got, err)
		}
		n += got
	}
	return nil
}

// bareApp is an app that needs no memory of Go for its connections either. It serves one connection after the other: until its end or, if it
// switches protocols, until the response.
func bareApp(t *testing.T, response string) (address string) {
	t.Helper()
	l := bareSocket(t, [4]byte{127, 0, 0, 1})
	bound, err := syscall.Getsockname(l)
	if err == nil {
		err = syscall.Listen(l, 1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serveBare(l, response)
	}()
	t.Cleanup(func() {
		_ = syscall.Shutdown(l, syscall.SHUT_RDWR)
		<-ended // before the number of the socket is used again
		_ = syscall.Close(l)
	})
	return fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
}

// serveBare serves until the listening socket is shut down.
func serveBare(l int, response string) {
	var open []int
	for buf := make([]byte, 8<<10); ; {
		fd, _, err := syscall.Accept4(l, syscall.SOCK_CLOEXEC)
		if err == syscall.EINTR || err == syscall.ECONNABORTED {
			continue
		}
		if err != nil {
			break
		}
		open = append(open, fd)
		for bareRead(fd, buf, "\r\n\r\n") == nil {
			if _, err := syscall.Write(fd, []byte(response)); err != nil || response == switching {
				break
			}
		}
	}
	for _, fd := range open {
		_ = syscall.Close(fd)
	}
}
