package vaulttest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Link is a loopback port that forwards to a server. It can be slowed down or cut.
type Link struct {
	// Address is https://127.0.0.1:port.
	Address string

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration
	cut   bool
	conns []net.Conn
}

// NewLink returns a Link to s that ends with the test.
func NewLink(tb testing.TB, s *Server) *Link {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	link := &Link{Address: "https://" + l.Addr().String(), target: strings.TrimPrefix(s.Address, "https://"), listener: l}
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
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
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
		if err != nil || !l.track(client, server) {
			_ = client.Close()
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
	if !l.cut {
		l.conns = append(l.conns, conns...)
		return true
	}
	for _, c := range conns {
		_ = c.Close()
	}
	return false
}

func (l *Link) forward(to, from net.Conn, held bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			l.mu.Lock()
			delay := l.delay
			l.mu.Unlock()
			if held {
				time.Sleep(delay)
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
