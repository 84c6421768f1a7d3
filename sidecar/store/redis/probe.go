package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// run monitors the connection until ctx ends. It checks at once, so that Status is known soon. Then it checks rarely while all
// servers are available, and often while one is not. Requests never wait for a probe.
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

// check probes the servers whose breaker is open, or with sweep all servers, to forget those that left the cluster. The probes
// run concurrently, because each may use its full timeout. Then check runs an ordinary operation.
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
		_ = c.Do(ctx, ping) // Do records the outcome
	}
}

func ping(ctx context.Context, client goredis.UniversalClient) error { return client.Ping(ctx).Err() }

// suspects returns the guards whose breaker is open, or all guards.
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
