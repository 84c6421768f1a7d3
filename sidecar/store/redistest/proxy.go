package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// SlowLink listens on a loopback port and forwards to addr. It delays each chunk of bytes sent to the server. It stops at the
// end of the test.
func SlowLink(tb testing.TB, addr string, delay time.Duration) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	link := &slowLink{addr: addr, delay: delay}
	link.wg.Go(func() { link.accept(l) })
	tb.Cleanup(func() {
		_ = l.Close()
		link.closeAll()
		link.wg.Wait()
	})
	return l.Addr().String()
}

type slowLink struct {
	addr  string
	delay time.Duration
	wg    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func (s *slowLink) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", s.addr)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !s.track(client, server) {
			return
		}
		s.wg.Go(func() { s.forward(server, client, s.delay) })
		s.wg.Go(func() { s.forward(client, server, 0) })
	}
}

// track keeps the connections for closeAll, or closes them if that has been called.
func (s *slowLink) track(conns ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conns...)
	if s.closed {
		closeConns(conns)
	}
	return !s.closed
}

func (s *slowLink) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	closeConns(s.conns)
}

func closeConns(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

func (s *slowLink) forward(to, from net.Conn, delay time.Duration) {
	defer closeConns([]net.Conn{to, from})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			time.Sleep(delay)
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
