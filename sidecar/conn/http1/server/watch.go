package server

import "errors"

// watched is the value of conn.waiting while a goroutine reads.
const watched = -1

// wait says that the handler runs and nothing reads from the client: if that lasts, the sweeper starts to watch for its end.
func (c *conn) wait() {
	if c.server.config.Times.Gone > 0 {
		c.waiting.CompareAndSwap(0, c.server.sweeper.now.Load())
	}
}

// startWatch reads from the client in a goroutine, to notice when it disconnects. What it sends is part of the next request.
func (c *conn) startWatch(since int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waiting.CompareAndSwap(since, watched) {
		return
	}
	c.unwatched = make(chan struct{})
	c.stopping = false
	go c.watch(c.current.Load(), c.unwatched)
}

func (c *conn) watch(ctx *requestContext, done chan struct{}) {
	defer close(done)
	if c.w == c.r {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		return // a full buffer of requests ahead: nothing more is read for now
	}
	n, err := c.net.Read(c.buf[c.w:])
	c.w += n
	if err == nil {
		return
	}
	c.mu.Lock()
	stopping := c.stopping
	c.mu.Unlock()
	if stopping && isTimeout(err) {
		return
	}
	c.readErr = err
	ctx.end()
}

// unwait ends wait. After it, the caller may read from the client.
func (c *conn) unwait() {
	if c.waiting.Swap(0) != watched {
		return
	}
	c.mu.Lock()
	c.stopping = true
	done := c.unwatched
	_ = c.net.SetReadDeadline(past) // on an error the connection is closed, and the read ends by itself
	c.mu.Unlock()
	<-done
	_ = c.net.SetReadDeadline(noDeadline)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
