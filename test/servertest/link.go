package servertest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Link is a loopback port that forwards to a server. It can be slowed down and cut.
type Link struct {
	// Addr is host:port.
	Addr string

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration
	cut   bool
	conns map[net.Conn]struct{}
}

// NewLink returns a link to addr that ends with the test.
func NewLink(tb testing.TB, addr string) *Link {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	link := &Link{Addr: l.Addr().String(), target: addr, listener: l, conns: map[net.Conn]struct{}{}}
	link.wg.Go(link.accept)
	tb.Cleanup(func() {
		_ = l.Close()
		link.Cut()
		link.wg.Wait()
	})
	return link
}

// Slow delays each chunk of bytes sent to the server by d.
func (l *Link) Slow(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Cut closes all connections. Until Mend it also closes new connections at once.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// Mend undoes Cut.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !l.track(client, server) {
			continue
		}
		l.wg.Go(func() { l.forward(server, client, true) })
		l.wg.Go(func() { l.forward(client, server, false) })
	}
}

// track keeps the connections for Cut, or closes them if the link is cut.
func (l *Link) track(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if l.cut {
			_ = c.Close()
			continue
		}
		l.conns[c] = struct{}{}
	}
	return !l.cut
}

func (l *Link) forward(to, from net.Conn, toServer bool) {
	defer l.close(to, from)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if toServer {
				time.Sleep(l.delayed())
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *Link) delayed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay
}

func (l *Link) close(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		delete(l.conns, c)
		_ = c.Close()
	}
}
