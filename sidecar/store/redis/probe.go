package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// monitor is the state of run.
type monitor struct {
	swept, replaced, loaded, policy time.Time
}

// run monitors the connection until ctx ends. It checks at once, so that Status is known soon. Then it checks rarely while all
// servers are available, and often while one is not. Requests never wait for a probe.
func (c *Conn) run(ctx context.Context) {
	timer, m := time.NewTimer(0), monitor{swept: time.Now()}
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.answer(ctx, &m)
		case <-timer.C:
			sweep := time.Since(m.swept) > sweepInterval
			if sweep {
				m.swept = time.Now()
			}
			c.answer(ctx, &m)
			c.check(ctx, sweep)
			if time.Since(m.policy) > policyInterval && c.openGuards() == 0 {
				m.policy = time.Now()
				c.checkPolicy(ctx)
			}
		}
		if c.Status().Up && c.openGuards() == 0 {
			timer.Reset(idleInterval)
		} else {
			timer.Reset(probeInterval)
		}
	}
}

// check probes the servers whose breaker is open, or with sweep all servers, to forget those that left the cluster. The probes
// run concurrently, because each may use its full timeout. Then check runs an ordinary write, because a replica would answer a
// read, and asks the Sentinels whether its server is the master.
func (c *Conn) check(ctx context.Context, sweep bool) {
	var wg sync.WaitGroup
	for _, g := range c.suspects(sweep) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, roundTrips*c.config.Timeout)
			defer cancel()
			g.probe(ctx)
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		_, _ = c.Prove(ctx, c.config.ProbeKey, func(context.Context, goredis.Pipeliner) {}) // it records the outcome
	}
}

// suspects returns the guards whose breaker is open, or all guards.
func (c *Conn) suspects(all bool) (found []*guard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.guards {
		if all || g.breaker.Open() {
			found = append(found, g)
		}
	}
	return found
}

// openGuards returns the number of servers in use whose breaker is open.
func (c *Conn) openGuards() (n int) {
	for _, g := range c.suspects(false) {
		if g.inUse() {
			n++
		}
	}
	return n
}
