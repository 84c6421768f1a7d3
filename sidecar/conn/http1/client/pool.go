// Package client is the leg of the HTTP/1.1 engine to the app: it keeps connections, sends requests that it serializes from their parsed
// fields, and reads responses strictly. It knows nothing of the client that the request is from, and changes no field that is end to end.
package client

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// Config has the settings of a Client. All are required, but ResponseHeader.
type Config struct {
	// Dial opens a connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Idle is how long an unused connection is kept, and MaxIdle how many of them for each target.
	Idle    time.Duration
	MaxIdle int
	// ResponseHeader bounds the wait for the response's head after the request was sent. Zero means no bound.
	ResponseHeader time.Duration
	// ExpectContinue is how long an app may delay the response to Expect: 100-continue before the body is sent.
	ExpectContinue time.Duration
}

// Client sends requests. It is safe for concurrent use.
type Client struct {
	cfg Config

	mu sync.Mutex
	// idle has the unused connections of each target, the last used at the end.
	idle     map[string][]*conn
	sweeping bool
	// epoch counts the calls of Renew.
	epoch int
}

// New returns a Client.
func New(cfg Config) *Client { return &Client{cfg: cfg, idle: map[string][]*conn{}} }

// conn is a connection to the app.
type conn struct {
	net    net.Conn
	target string
	epoch  int
	since  time.Time // unused since
	// socket is nil if the connection has no socket. Such a connection is not kept, because nothing can look at what it has received.
	socket pending
	// abort closes the connection when a context ends.
	abort func()
	call  call
}

// pending is a connection that can be looked at without reading from it.
type pending interface {
	// Pending reports whether the app has sent something that was not read, or has closed the connection.
	Pending() bool
}

func newConn(nc net.Conn, target string, epoch int) *conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		nc = nonblock.New(tcp)
	}
	c := &conn{net: nc, target: target, epoch: epoch}
	c.abort = func() { _ = nc.Close() }
	c.socket, _ = nc.(pending)
	return c
}

// take returns an unused connection, or nil.
func (c *Client) take(target string) *conn {
	for {
		c.mu.Lock()
		kept := c.idle[target]
		n := len(kept)
		if n == 0 {
			c.mu.Unlock()
			return nil
		}
		got := kept[n-1]
		kept[n-1] = nil
		c.idle[target] = kept[:n-1]
		c.mu.Unlock()
		// What an app sends without a request must not be taken for the next response.
		if time.Since(got.since) < c.cfg.Idle && !got.socket.Pending() {
			return got
		}
		_ = got.net.Close()
	}
}

// keep stores a connection for the next request.
func (c *Client) keep(got *conn) {
	got.since = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.idle[got.target]
	if got.socket == nil || got.epoch != c.epoch || len(kept) >= c.cfg.MaxIdle {
		_ = got.net.Close()
		return
	}
	c.idle[got.target] = append(kept, got)
	if !c.sweeping {
		c.sweeping = true
		time.AfterFunc(c.cfg.Idle/2, c.sweep)
	}
}

// sweep closes the connections that were unused for too long. It calls itself while there are any.
func (c *Client) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	left, now := 0, time.Now()
	for target, kept := range c.idle {
		old := 0
		for old < len(kept) && now.Sub(kept[old].since) >= c.cfg.Idle {
			_ = kept[old].net.Close()
			old++
		}
		n := copy(kept, kept[old:])
		clear(kept[n:])
		c.idle[target] = kept[:n]
		left += n
	}
	if c.sweeping = left > 0; c.sweeping {
		time.AfterFunc(c.cfg.Idle/2, c.sweep)
	}
}

// currentEpoch returns the number of calls of Renew.
func (c *Client) currentEpoch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// Renew closes the unused connections, and those in use after their requests, because Dial opens others from now on.
func (c *Client) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.closeIdle()
}

// CloseIdle closes the unused connections.
func (c *Client) CloseIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeIdle()
}

func (c *Client) closeIdle() {
	for target, kept := range c.idle {
		for _, one := range kept {
			_ = one.net.Close()
		}
		delete(c.idle, target)
	}
}
