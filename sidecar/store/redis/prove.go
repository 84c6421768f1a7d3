package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// Prove runs read, and reports whether the replies contain every write that the master had acknowledged before the call. The proof
// is a write on the same connection: it deletes key, which does not exist and is in the same slot as the keys of read. With
// Sentinel, the Sentinels must also name the server as the master. doubt says why there is no proof, although read succeeded. A
// master that cannot save its data takes no writes from anybody, so what was read is current.
//
// A master that is cut off from its replicas, and from this sidecar's view is in order, can be recognised only by the Sentinels,
// by its cluster, or by min-replicas-to-write.
func (c *Conn) Prove(ctx context.Context, key string, read func(context.Context, goredis.Pipeliner)) (doubt, err error) {
	l := c.link.Load()
	var readErr error
	doubt = c.do(ctx, l, func(ctx context.Context, client goredis.UniversalClient) error {
		cmds, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			p.Del(ctx, key)
			read(ctx, p)
			return nil
		})
		if len(cmds) == 0 {
			return err
		}
		for _, cmd := range cmds[1:] {
			if err := cmd.Err(); classify(err) != answered {
				readErr = err
			}
		}
		return cmds[0].Err()
	})
	switch {
	case readErr != nil:
		return nil, fmt.Errorf("reading from Redis: %w", hide(readErr))
	case doubt != nil && says(doubt.Error(), []string{"MISCONF"}):
		doubt = nil
	case doubt != nil && classify(doubt) != refused && classify(doubt) != unwritable:
		return nil, doubt
	}
	if doubt == nil && c.opener.sentinels != nil {
		doubt = c.confirm(ctx, l)
	}
	return doubt, nil
}

// confirm returns nil if the Sentinels name the server of l as the master. If they name another one, it is looked up again.
func (c *Conn) confirm(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTrips*max(c.config.Timeout, minDialTimeout/2))
	defer cancel()
	addr, err := c.opener.sentinels.master(ctx)
	if err != nil {
		return c.setDoubt(l, err)
	}
	if held := l.master.Load(); held == nil || *held != addr {
		if held != nil {
			c.moved(l)
		}
		return c.setDoubt(l, fmt.Errorf("the Sentinels name another master: %s", addr))
	}
	return c.setDoubt(l, nil)
}

// setDoubt records why the Sentinels do not confirm the master, for Status and the log. It returns err.
func (c *Conn) setDoubt(l *link, err error) error {
	if c.link.Load() != l {
		return err
	}
	before := c.doubt.Swap(&lastOutcome{err: err})
	switch known := before != nil && before.err != nil; {
	case err != nil && !known:
		c.log.Warn("the Sentinels do not confirm the master; revocations are not known to be complete", "error", err)
	case err == nil && known:
		c.log.Info("the Sentinels confirm the master again")
	}
	return err
}
