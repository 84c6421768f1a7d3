package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// run looks after the connection until ctx ends: it asks at once, so that Status is soon known; then rarely while all is
// well, and often while a server does not answer. Requests never pay for a probe.
func (c *Conn) run(ctx context.Context) {
	timer, swept := time.NewTimer(0), time.Now()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
			sweep := time.Since(swept) > sweepInterval
			if sweep {
				swept = time.Now()
			}
			c.check(ctx, sweep)
		}
		if c.Status().Up && c.openGuards() == 0 {
			timer.Reset(idleInterval)
		} else {
			timer.Reset(probeInterval)
		}
	}
}

// check probes the servers that were given up, or with sweep every one, so that those which left the cluster are
// forgotten; all at once, for each may take its whole time. Then it runs an operation like any other.
func (c *Conn) check(ctx context.Context, sweep bool) {
	var wg sync.WaitGroup
	for _, g := range c.suspects(sweep) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, roundTrips*c.timeout)
			defer cancel()
			g.probe(ctx)
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		_ = c.Do(ctx, ping) // Do has recorded the outcome
	}
}

func ping(ctx context.Context, client goredis.UniversalClient) error { return client.Ping(ctx).Err() }

// suspects returns the guards whose breaker is open, or all.
func (c *Conn) suspects(all bool) (found []*guard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.guards {
		if all || g.breaker.open.Load() {
			found = append(found, g)
		}
	}
	return found
}

func (c *Conn) openGuards() int { return len(c.suspects(false)) }
