// Package server serves HTTP/1.x on the connections of clients: one strict parser, one goroutine for each connection, and no work that
// net/http would do again. Requests whose end is ambiguous are refused: request smuggling is possible if two parsers read the same bytes
// differently (RFC 9112 §11.2).
//
// Handlers get the types of net/http. The request, its URL and header, and the response's header and writer are reused for the next
// request of the connection: after a handler has returned, nobody may use them. The context of a request is never reused.
//
// A connection whose first bytes are the preface of HTTP/2 is passed to an http.Server. Package listen performs TLS handshakes; this
// package reads the bytes above TLS.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Place is the place of a connection among all. Begin and End surround each request, and Unused says that every response was sent.
type Place interface {
	Begin()
	End()
	Unused()
}

// Config configures a Server. Handler is required.
type Config struct {
	Handler http.Handler
	Limits  Limits
	// HTTP2 serves the connections that begin with the preface of HTTP/2, agreed in a handshake or with prior knowledge (RFC 9113 §3.2,
	// §3.3). It must serve unencrypted HTTP/2. If it is nil, the preface is refused like any other request with a wrong version.
	HTTP2 *http.Server
	// PlaceOf returns the place of a connection, or nil. It may be nil.
	PlaceOf func(conn net.Conn) Place
	// OnRefuse is called for each refusal, once per connection; it may be nil.
	OnRefuse func(conn net.Conn, refusal *httperr.Error)
	// Respond writes the response to a request whose head is refused. r has only what could be read of it: the method, the path, and
	// the fields Origin and Accept. If Respond is nil, or writes no error, the response is a plain problem document.
	Respond func(w http.ResponseWriter, r *http.Request, refusal *httperr.Error)
	Times   Times
	// MinRate returns the minimum rate of request bodies in bytes per second; 0, or a nil function, is none.
	MinRate func() int
	// OnSlow, if not nil, is called for each body that ended because it was too slow.
	OnSlow func()
	// Logger gets panics of handlers, at the level Debug; nil is none.
	Logger *slog.Logger
	// Poison is for tests: nothing is reused, and a request that is used after its handler has returned has no header and no URL.
	Poison bool
}

// Times bound how long a connection may wait for its client. 0 is the default.
type Times struct {
	// Head bounds reading a head (10 s), and Idle the time before it (an hour). Park is how long an idle connection keeps the memory and
	// the stack of its last request (200 ms).
	Head, Idle, Park time.Duration
	// Stall is how long one read of a body, or one write of a response, may make no progress (a minute).
	Stall time.Duration
	// Window is how long a client may let the server wait for its body if there is a minimum rate (20 s).
	Window time.Duration
	// Rest is how long a response waits for a body that nothing has read, so that the connection can be kept (50 ms), and Unread how
	// long the connection stays for it after the response (5 s).
	Rest, Unread time.Duration
	// Gone is how long a request lasts before the server looks whether its client has disconnected (100 ms).
	Gone time.Duration
}

func (t Times) withDefaults() Times {
	for at, value := range map[*time.Duration]time.Duration{
		&t.Head: 10 * time.Second, &t.Idle: time.Hour, &t.Park: 200 * time.Millisecond, &t.Stall: time.Minute, &t.Window: 20 * time.Second,
		&t.Rest: 50 * time.Millisecond, &t.Unread: 5 * time.Second, &t.Gone: 100 * time.Millisecond,
	} {
		if *at <= 0 {
			*at = value
		}
	}
	t.Rest, t.Unread = min(t.Rest, t.Stall), min(t.Unread, t.Stall)
	return t
}

// newConnTime is how long a connection may be open without a request before Shutdown takes it for idle, as in net/http.
const newConnTime = 5 * time.Second

// Server serves connections.
type Server struct {
	config  Config
	http    *http.Server
	sweeper sweeper
	second  *handover // the connections of HTTP/2; nil for none

	closing atomic.Bool

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
}

// New returns a Server.
func New(config Config) (*Server, error) {
	if config.Handler == nil {
		return nil, errors.New("creating an HTTP server: Handler is required")
	}
	config.Limits, config.Times = config.Limits.withDefaults(), config.Times.withDefaults()
	s := &Server{config: config, http: config.HTTP2, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
	s.sweeper.server, s.sweeper.epoch, s.sweeper.interval = s, time.Now(), sweepInterval(config.Times)
	if s.http == nil {
		s.http = &http.Server{Handler: config.Handler, ReadHeaderTimeout: config.Times.Head} // only the value of http.ServerContextKey
	} else {
		s.second = newHandover()
		go func() { _ = s.http.Serve(s.second) }() // it ends with Shutdown or Close
	}
	return s, nil
}

// Serve serves the connections of l until Shutdown or Close, and returns http.ErrServerClosed then. It ends with any other error of l: package
// listen waits while there are no file descriptors. It closes l before it returns.
func (s *Server) Serve(l net.Listener) error {
	defer func() { _ = l.Close() }() // it may be closed already
	if !s.follow(l) {
		return http.ErrServerClosed
	}
	defer s.unfollow(l)
	for {
		inner, err := l.Accept()
		if s.closing.Load() {
			if err == nil {
				_ = inner.Close()
			}
			return http.ErrServerClosed
		}
		if err != nil {
			return err
		}
		c := newConn(s, inner)
		if !s.add(c) {
			_ = inner.Close()
			return http.ErrServerClosed
		}
		go c.serve()
	}
}

func (s *Server) follow(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) unfollow(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// add keeps c until it is removed. A connection that arrives while the server shuts down is served.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	s.sweeper.startLocked()
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// stop closes the listeners, and makes each response in progress the last of its connection.
func (s *Server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	var errs []error
	for l := range s.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Shutdown stops accepting, closes idle connections, and waits until the others have sent their responses, or ctx ends. It does not wait
// for hijacked connections. HTTP/2 connections get GOAWAY.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.stop()
	second := make(chan error, 1)
	go func() { second <- s.http.Shutdown(ctx) }()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !s.closeIdle() {
		select {
		case <-ctx.Done():
			<-second
			return ctx.Err()
		case <-poll.C:
		}
	}
	if e := <-second; e != nil {
		return e
	}
	return err
}

// closeIdle closes the connections without a request, and reports whether there are none left.
func (s *Server) closeIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		fresh := c.state.Load() == stateNew && time.Since(c.opened) < newConnTime
		if !fresh && (c.state.CompareAndSwap(stateIdle, stateClosed) || c.state.CompareAndSwap(stateNew, stateClosed)) {
			_ = c.net.Close()
			delete(s.conns, c)
		}
	}
	return len(s.conns) == 0
}

// Close closes all connections immediately, except hijacked ones.
func (s *Server) Close() error {
	err := errors.Join(s.stop(), s.http.Close())
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.net.Close()
		c.current.Load().end() // nothing looks for the client of a short request
		delete(s.conns, c)
	}
	return err
}
