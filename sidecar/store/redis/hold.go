package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Hold runs f with one connection of its own to the server that owns key, for commands that wait for something to happen.
// Conn.Do's bound does not hold for f: it bounds each command by HoldTimeout. A wait that times out is no failure; else
// f's errors mean for the breaker what those of Do mean. The connection is given back when f returns.
func (c *Conn) Hold(ctx context.Context, key string, f func(context.Context, *goredis.Conn) error) error {
	node, err := c.owner(ctx, key)
	if err != nil {
		return fmt.Errorf("finding the server of a key: %w", err)
	}
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	return f(ctx, conn)
}

// HoldTimeout is for how long a command that waits for wait may take in all, on a new connection.
func (c *Conn) HoldTimeout(wait time.Duration) time.Duration { return wait + roundTrips*c.timeout }

// owner returns the client of the server that owns key.
func (c *Conn) owner(ctx context.Context, key string) (*goredis.Client, error) {
	switch client := c.client.(type) {
	case *goredis.Client:
		return client, nil
	case *goredis.ClusterClient:
		ctx, cancel := context.WithTimeout(ctx, roundTrips*c.timeout)
		defer cancel()
		return client.MasterForKey(ctx, key)
	default:
		return nil, fmt.Errorf("a client %T has no servers", client)
	}
}
