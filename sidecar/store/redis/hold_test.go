package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// waitFor blocks on a list.
func waitFor(c *Conn, key string, wait time.Duration) error {
	return c.Hold(context.Background(), key, func(ctx context.Context, conn *goredis.Conn) error {
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
			t.Parallel()
			config.Timeout = time.Second // a busy machine must not count as an outage
			conn := openUp(t, config)
			for _, key := range []string{"a", "b", "c"} { // on several nodes
				if err := waitFor(conn, key, 3*config.Timeout/2); !errors.Is(err, goredis.Nil) {
					t.Errorf("waiting = %v; want a timeout without a value", err)
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
	if err := waitFor(conn, "k", 500*time.Millisecond); !errors.Is(err, ErrUnavailable) {
		t.Errorf("waiting for a server that hangs = %v", err)
	}
}
