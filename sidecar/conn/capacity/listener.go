package capacity

import (
	"net"
	"net/netip"
	"sync"
)

// Conn is a connection of Listener.
type Conn struct {
	net.Conn
	place *Place
}

// Place returns the connection's place.
func (c *Conn) Place() *Place { return c.place }

// Close closes the connection and frees its place.
func (c *Conn) Close() error {
	defer c.place.Done()
	return c.Conn.Close()
}

// Listener returns inner, whose connections need places. A connection that gets none is closed.
func (l *Limiter) Listener(inner net.Listener) net.Listener {
	return &listener{Listener: inner, limiter: l, stop: make(chan struct{})}
}

type listener struct {
	net.Listener
	limiter *Limiter
	stop    chan struct{}
	once    sync.Once
}

// Accept returns the next connection with a place.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place, _ := l.limiter.Admit(l.stop, PeerOf(inner), func() { _ = inner.Close() })
		if place != nil {
			return &Conn{Conn: inner, place: place}, nil
		}
		_ = inner.Close()
	}
}

// Close stops accepting, and ends the wait for a place.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.stop) })
	return l.Listener.Close()
}

// PeerOf returns the address of conn's peer; the zero address if it is not a TCP connection.
func PeerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}
