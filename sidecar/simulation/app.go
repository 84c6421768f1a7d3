package simulation

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// maxBody bounds the part of a body that is kept, in bytes.
const maxBody = 1 << 20

// AppResponse is what the app responds.
type AppResponse struct {
	// Status is 200 if zero.
	Status int
	Header http.Header
	Body   string
}

// app is the app. It is a server on connections that are pairs of pipes.
type app struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	response AppResponse
	// got is the last request that reached the app, without its body; nil for none.
	got *http.Request
}

func newApp() *app {
	a := &app{conns: make(chan net.Conn), closed: make(chan struct{})}
	a.server = &http.Server{Handler: a, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = a.server.Serve(a) }() // ends when close is called
	return a
}

// expect prepares the response to the next request.
func (a *app) expect(r AppResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.response, a.got = r, nil
}

// reached returns the request that reached the app, or nil.
func (a *app) reached() *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	a.got = r
	response := a.response
	a.mu.Unlock()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	if response.Status != 0 {
		w.WriteHeader(response.Status)
	}
	_, _ = io.WriteString(w, response.Body)
}

func (a *app) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case a.conns <- server:
		return client, nil
	case <-a.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr are those of net.Listener.
func (a *app) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close stops Accept.
func (a *app) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

// Addr returns an address that is nobody's.
func (a *app) Addr() net.Addr { return &net.TCPAddr{} }

func (a *app) close() {
	_ = a.Close()
	_ = a.server.Close()
}
