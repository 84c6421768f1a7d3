package listen

import (
	"net"
	"sync"
)

// httpListener is a net.Listener whose connections come from deliver.
type httpListener struct {
	conns chan *Conn
	done  chan struct{}
	once  sync.Once
}

func newHTTPListener() *httpListener {
	return &httpListener{conns: make(chan *Conn), done: make(chan struct{})}
}

// deliver passes conn to Accept. It returns false if the listener is closed.
func (l *httpListener) deliver(conn *Conn) bool {
	select {
	case l.conns <- conn:
		return true
	case <-l.done:
		return false
	}
}

// Accept returns the next connection, a *Conn.
func (l *httpListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. http.Server calls it when it shuts down. Later connections are reset.
func (l *httpListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns a placeholder: the connections come from many addresses.
func (l *httpListener) Addr() net.Addr { return &net.TCPAddr{} }
