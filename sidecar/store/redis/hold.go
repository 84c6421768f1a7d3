package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Hold runs f with its own connection to the server that owns key, for commands that block. Conn.Do's time bound does not apply
// to f; HoldTimeout bounds each command. A blocking command that times out is not a failure. Other errors of f count for the
// breaker as in Do. The connection is released when f returns.
// The context of f ends when the connections are dropped to look up the master again.
func (c *Conn) Hold(ctx context.Context, key string, f func(context.Context, *goredis.Conn) error) error {
	l := c.link.Load()
	node, err := c.owner(ctx, l, key)
	if err != nil {
		return fmt.Errorf("finding the server of a key: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	return f(ctx, conn)
}

// HoldTimeout returns the total time for a command that blocks for wait, on a new connection.
func (c *Conn) HoldTimeout(wait time.Duration) time.Duration {
	return wait + roundTrips*c.config.Timeout
}

// owner returns the client of the server that owns key.
func (c *Conn) owner(ctx context.Context, l *link, key string) (*goredis.Client, error) {
	switch client := l.client.(type) {
	case *goredis.Client:
		return client, nil
	case *goredis.ClusterClient:
		ctx, cancel := context.WithTimeout(ctx, roundTrips*c.config.Timeout)
		defer cancel()
		return client.MasterForKey(ctx, key)
	default:
		return nil, fmt.Errorf("a client %T has no servers", client)
	}
}
