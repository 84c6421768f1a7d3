package sessionredis

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessiontest"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

func connect(tb testing.TB, c redis.Config) *redis.Conn {
	tb.Helper()
	metrics, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	c.ProbeKey = statetest.ProbeKey
	conn, err := redis.Open(c, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	redistest.Eventually(tb, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

// standalone has a timeout that a busy machine keeps to.
func standalone(s *redistest.Server) redis.Config {
	return redis.Config{Mode: redis.Standalone, Addresses: []string{s.Addr}, Timeout: 5 * time.Second}
}

// clocked is a store whose scripts read a fake clock. Keys still expire by the clock of Redis, which is slower.
type clocked struct {
	*Store
	mu     sync.Mutex
	t      *testing.T
	server *redistest.Server
	now    time.Time
}

func (c *clocked) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.server.Do("MSET", c.prefix+"seconds", c.now.Unix(), c.prefix+"micros", c.now.Nanosecond()/1000)
}

func (c *clocked) Hold(most session.Timeouts) { c.most = most }

func newClocked(t *testing.T, conn Conn, server *redistest.Server, scope string) *clocked {
	t.Helper()
	timed := strings.Replace(prelude, "redis.call('TIME')", "redis.call('MGET', ARGV[1] .. 'seconds', ARGV[1] .. 'micros')", 1)
	if timed == prelude {
		t.Fatal("the scripts no longer read their clock in the expected way")
	}
	c := &clocked{Store: build(conn, scope, timed), t: t, server: server, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.Advance(0)
	return c
}

// TestStore runs as the user of docs/state.md for one namespace, which allows only what the page lists.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	server, conn := asNamespace(t, page)
	t.Run("suite", func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) sessiontest.Clock {
			return newClocked(t, conn, server, fmt.Sprint("shop/", t.Name()))
		})
	})
	wholeLife(t, New(conn, scope, session.Timeouts{})) // with Redis's own clock
	for _, key := range statetest.Keys(server) {
		if strings.HasSuffix(key, "seconds") || strings.HasSuffix(key, "micros") {
			server.Do("UNLINK", key) // newClocked's
		}
	}
	page.Check(t, stateOwner, longest, server)
}
