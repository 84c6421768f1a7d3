package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/state/redistest"
)

// waitFor blocks on a list for longer than Config.Timeout.
func waitFor(c *Conn, key string) error {
	return c.Hold(context.Background(), key, func(ctx context.Context, conn *goredis.Conn) error {
		const wait = 500 * time.Millisecond
		ctx, cancel := context.WithTimeout(ctx, c.HoldTimeout(wait))
		defer cancel()
		return conn.BLPop(ctx, wait, key).Err()
	})
}

func TestHoldWaitsForLongerThanATimeout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	cluster := redistest.StartCluster(t, "")
	tests := map[string]Config{
		"standalone": {Mode: Standalone, Addresses: []string{server.Addr}},
		"cluster":    {Mode: Cluster, Addresses: cluster.Addrs},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			config.Timeout = 200 * time.Millisecond
			conn := openUp(t, config)
			for _, key := range []string{"a", "b", "c"} { // on several nodes
				if err := waitFor(conn, key); !errors.Is(err, goredis.Nil) {
					t.Errorf("waiting = %v; want that nothing came", err)
				}
			}
			if !conn.Status().Up {
				t.Errorf("a wait that timed out counts as an outage: %v", conn.Status().Err)
			}
		})
	}
}

func TestHoldEndsInAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	config := standalone(server)
	config.Timeout = DefaultTimeout
	conn := openUp(t, config)
	server.Pause()
	if err := waitFor(conn, "k"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("waiting for a server that hangs = %v", err)
	}
}
