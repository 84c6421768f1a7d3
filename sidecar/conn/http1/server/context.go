package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
)

type connKey struct{}

// ConnContext stores conn for From. It is for http.Server.ConnContext; the requests of this package have it already.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// From returns the connection of a request's context, as the listener returned it for HTTP/1.x, or nil.
func From(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}

// contextSlots is how many values SetValue keeps.
const contextSlots = 6

// requestContext is the context of one request. It ends when the client disconnects, and when the handler has returned. It is never
// reused: the work that a handler leaves behind may keep it, by way of context.WithoutCancel for example.
type requestContext struct {
	conn *conn

	keys, values [contextSlots]any
	used         int

	mu sync.Mutex
	// done is made when it is first asked for.
	done chan struct{}
	err  error
	// funcs are those of AfterFunc.
	funcs []*afterFunc
	// bound is the function of Bind; nil for none.
	bound func()
	// upgrade is made when it is first asked for.
	upgrade *upgraded.Exchange
}

type afterFunc struct{ run func() }

var _ context.Context = (*requestContext)(nil)

// SetValue keeps a value in place, and reports whether there was room. It is for the request's goroutine, before another one has the
// context.
func (c *requestContext) SetValue(key, value any) bool {
	for i := range c.used {
		if c.keys[i] == key {
			c.values[i] = value
			return true
		}
	}
	if c.used == contextSlots {
		return false
	}
	c.keys[c.used], c.values[c.used] = key, value
	c.used++
	return true
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	for i := range c.used {
		if c.keys[i] == key {
			return c.values[i]
		}
	}
	switch key {
	case upgraded.Key{}:
		if c.upgrade == nil {
			c.upgrade = &upgraded.Exchange{}
		}
		return c.upgrade
	case connKey{}:
		return c.conn.net
	case http.ServerContextKey:
		return c.conn.server.http
	case http.LocalAddrContextKey:
		return c.conn.net.LocalAddr()
	}
	return nil
}

// Deadline implements context.Context. A request has none.
func (*requestContext) Deadline() (deadline time.Time, ok bool) { return deadline, false }

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc calls f in its own goroutine when the context ends. stop reports whether it has prevented the call. Package context uses it
// for contexts that are derived from this one, so that they need no goroutine that waits.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	a := &afterFunc{run: f}
	c.funcs = append(c.funcs, a)
	return func() bool { return c.forget(a) }
}

// Bind is AfterFunc for one function at a time, without an allocation. It reports whether there was room; if there was, Unbind must follow.
func (c *requestContext) Bind(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bound != nil || c.err != nil {
		return false
	}
	c.bound = f
	return true
}

// Unbind undoes Bind, and reports whether it has prevented the call.
func (c *requestContext) Unbind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound = nil
	return c.err == nil
}

func (c *requestContext) forget(a *afterFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.funcs {
		if c.funcs[i] == a {
			c.funcs = append(c.funcs[:i], c.funcs[i+1:]...)
			return true
		}
	}
	return false
}

// end ends the context. More calls have no effect, nor has one without a request.
func (c *requestContext) end() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for _, a := range c.funcs {
		go a.run()
	}
	c.funcs = nil
	if c.bound != nil {
		go c.bound()
	}
}
