package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// waitOpen runs operations until the breaker opens.
func waitOpen(t *testing.T, c *Conn, key string) {
	t.Helper()
	redistest.Eventually(t, "the breaker to open", func() bool {
		_, err := incr(t.Context(), c, key)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("INCR = %v; want ErrUnavailable", err)
		}
		return errors.Is(err, errOpen)
	})
	if got := c.Status(); got.Up || !errors.Is(got.Err, ErrUnavailable) || errors.Is(got.Err, errOpen) {
		t.Errorf("Status = %+v while the breaker is open; want the cause of the outage", got)
	}
	if c.metrics.up() != 0 || c.metrics.open() != 1 || testutil.ToFloat64(c.metrics.requests.WithLabelValues("open")) == 0 {
		t.Errorf("up %v, open %v", c.metrics.up(), c.metrics.open())
	}
}

func waitUp(t *testing.T, c *Conn, key string) {
	t.Helper()
	redistest.Eventually(t, "the connection to be up again", func() bool { return c.Status().Up })
	redistest.Eventually(t, "an operation to succeed", func() bool { _, err := incr(t.Context(), c, key); return err == nil })
	if c.metrics.up() != 1 || c.metrics.open() != 0 {
		t.Errorf("up %v, open %v", c.metrics.up(), c.metrics.open())
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ fail, heal func(*redistest.Server) }{
		"stopped and started": {fail: (*redistest.Server).Stop, heal: (*redistest.Server).Restart},
		"hanging":             {fail: (*redistest.Server).Pause, heal: (*redistest.Server).Resume},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Options{Password: "s3cret"})
			config := standalone(s)
			config.Timeout, config.Password = DefaultTimeout, newPassword("s3cret")
			conn := openUp(t, config)
			for range 2 {
				tt.fail(s)
				waitOpen(t, conn, "k")
				tt.heal(s)
				waitUp(t, conn, "k")
			}
		})
	}
}

func TestALostCommandIsSentOnce(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "")
	tests := map[string]struct {
		config Config
		server *redistest.Server
	}{
		"cluster":    {config: Config{Mode: Cluster, Addresses: cluster.Addrs}, server: cluster.Owner("k")},
		"standalone": {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.server == nil {
				tt.server = redistest.Start(t, redistest.Options{})
				tt.config = standalone(tt.server)
			}
			tt.config.Timeout = DefaultTimeout
			conn := openUp(t, tt.config)
			redistest.Eventually(t, "a first count", func() bool { _, err := incr(t.Context(), conn, "k"); return err == nil })
			tt.server.Do("SET", "k", 0)
			tt.server.Pause()
			if _, err := incr(t.Context(), conn, "k"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("INCR on a hanging server = %v", err)
			}
			tt.server.Resume()
			if got := tt.server.Do("GET", "k"); got != "0" && got != "1" {
				t.Errorf("one INCR counted %v", got)
			}
		})
	}
}

func TestSlowLink(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	slow := redistest.SlowLink(t, s.Addr, 200*time.Millisecond)
	t.Run("longer than the timeout", func(t *testing.T) {
		t.Parallel()
		conn := open(t, Config{Mode: Standalone, Addresses: []string{slow}})
		waitOpen(t, conn, "k")
	})
	t.Run("shorter than the timeout", func(t *testing.T) {
		t.Parallel()
		conn := openUp(t, Config{Mode: Standalone, Addresses: []string{slow}, Timeout: 5 * time.Second})
		if _, err := incr(t.Context(), conn, "n"); err != nil {
			t.Error(err)
		}
	})
}

func TestRotatedPassword(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{Password: "old"})
	config := standalone(s)
	source := newPassword("old")
	config.Password = source
	conn := openUp(t, config)
	s.Do("CONFIG", "SET", "requirepass", "new")
	s.Password = "new"
	s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	waitOpen(t, conn, "k") // the sidecar's secret is not yet the new one
	source.value.Store("new")
	waitUp(t, conn, "k")
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "s3cret", "old")
	source := newPassword("old")
	conn := openUp(t, Config{Mode: Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName,
		Password: newPassword("s3cret"), SentinelPassword: source})
	// The sentinel's own password is also rotated, so that only the new one can find the new master.
	s.Watcher.Do("ACL", "SETUSER", "default", "resetpass", ">new")
	s.Watcher.Password = "new"
	s.Watcher.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	s.Watcher.Do("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
	source.value.Store("new")
	s.Master.Stop()
	waitOpen(t, conn, "k")
	waitUp(t, conn, "failed-over")
	if got := s.Replica.Do("EXISTS", "failed-over"); got != int64(1) {
		t.Errorf("the promoted replica has no write: %v", got)
	}
}

func TestClusterLosesOneNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "s3cret")
	conn := openUp(t, Config{Mode: Cluster, Addresses: cluster.Addrs, Password: newPassword("s3cret")})
	lost, kept := cluster.Owner("a"), "b"
	for _, key := range strings.Split("bcdefgh", "") {
		if cluster.Owner(key) != lost {
			kept = key
		}
	}
	lost.Stop()
	waitOpen(t, conn, "a")
	err := conn.Do(t.Context(), func(ctx context.Context, client goredis.UniversalClient) error {
		return client.Incr(ctx, kept).Err()
	})
	if err != nil {
		t.Errorf("a key of a living node = %v", err)
	}
	if conn.Status().Up {
		t.Error("up, although a node in use is lost")
	}
	lost.Restart()
	waitUp(t, conn, "a")
}
