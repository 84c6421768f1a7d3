package ratelimitredis

import (
	"context"
	"slices"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// maxRunning is the number of writes that wait for their reply at a time. Fewer calls than that go at once, each in a write of its
	// own. They are as many as open the breaker (breaker.Threshold), so that an outage is noticed after one timeout and not after several
	// in a row.
	maxRunning = 3
	// maxBatch bounds the calls of one write, and so the time for which a reply waits for the others.
	maxBatch = 64
)

// batcher runs a script for concurrent requests. While maxRunning writes wait for their reply, further calls wait for the first of
// them, and then go together in one write. Each has its own reply: the calls of a write are not a transaction.
type batcher struct {
	script *goredis.Script

	mu      sync.Mutex
	running int
	queue   []*call // only while running is maxRunning
}

// call is one run of the script that waits in the queue, or is part of a write.
type call struct {
	ctx    context.Context
	client *goredis.Client
	keys   []string
	args   []any
	cmd    *goredis.Cmd
	// lead says that the caller sends the next write, once woken. Otherwise cmd then has the reply.
	lead  bool
	woken chan struct{}
}

// run runs the script once. In a cluster, whose client has a connection for each node, every call goes alone.
func (b *batcher) run(ctx context.Context, client goredis.UniversalClient, keys []string, args []any) *goredis.Cmd {
	server, ok := client.(*goredis.Client)
	if !ok || b.begin() {
		if ok {
			defer b.finish()
		}
		return b.script.Run(ctx, client, keys, args...)
	}
	c := &call{ctx: ctx, client: server, keys: keys, args: args, woken: make(chan struct{})}
	if !b.wait(c) {
		cmd := goredis.NewCmd(ctx)
		cmd.SetErr(ctx.Err())
		return cmd
	}
	if c.lead {
		b.send(c)
	}
	if goredis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") {
		return b.script.Eval(ctx, client, keys, args...)
	}
	return c.cmd
}

// begin reports whether a call may go at once. The caller then calls finish.
func (b *batcher) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running >= maxRunning {
		return false
	}
	b.running++
	return true
}

// wait waits until c leads or has its reply. It returns false if the time of c ended before it was part of a write.
func (b *batcher) wait(c *call) bool {
	if b.enqueue(c) {
		return true
	}
	select {
	case <-c.woken:
		return true
	case <-c.ctx.Done():
	}
	if b.withdraw(c) {
		return false
	}
	<-c.woken // the write has a timeout, too
	return true
}

// enqueue adds c to the queue. If a place has become free since begin, c leads at once, and enqueue returns true.
func (b *batcher) enqueue(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running < maxRunning {
		b.running++
		c.lead = true
		return true
	}
	b.queue = append(b.queue, c)
	return false
}

// withdraw takes c out of the queue, and reports whether it was there.
func (b *batcher) withdraw(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, c)
	if i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	}
	return i >= 0
}

// finish ends a write. The call that has waited longest sends the next one.
func (b *batcher) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.running--
		return
	}
	next := b.queue[0]
	b.queue = slices.Delete(b.queue, 0, 1)
	next.lead = true
	close(next.woken)
}

// send sends the call that leads, and with it those that wait.
func (b *batcher) send(first *call) {
	defer b.finish()
	calls := b.take(first)
	defer func() {
		for _, c := range calls[1:] {
			close(c.woken)
		}
	}()
	// Those that came last have the most time left.
	ctx := calls[len(calls)-1].ctx
	pipeline := first.client.Pipeline()
	for _, c := range calls {
		c.cmd = b.script.EvalSha(ctx, pipeline, c.keys, c.args...)
	}
	_, err := pipeline.Exec(ctx)
	for _, c := range calls {
		if err != nil && c.cmd.Err() == nil && c.cmd.Val() == nil { // no reply, because there was no connection
			c.cmd.SetErr(err)
		}
	}
}

// take returns first and the calls that wait for the same client.
func (b *batcher) take(first *call) []*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.queue) && n < maxBatch-1 && b.queue[n].client == first.client {
		n++
	}
	calls := append(make([]*call, 0, n+1), first)
	calls = append(calls, b.queue[:n]...)
	b.queue = slices.Delete(b.queue, 0, n)
	return calls
}
