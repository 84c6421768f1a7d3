package inflightredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflighttest"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/stages/ratelimit/inflight/inflightredis"

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

func connect(tb testing.TB, c redis.Config) *redis.Conn {
	tb.Helper()
	metrics, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	c.ProbeKey, c.Timeout = statetest.ProbeKey, 5*time.Second
	conn, err := redis.Open(c, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	redistest.Eventually(tb, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

func standalone(s *redistest.Server) redis.Config {
	return redis.Config{Mode: redis.Standalone, Addresses: []string{s.Addr}}
}

// TestStore runs as the users of docs/state.md, which allow only what the page says.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, servers ...*redistest.Server) {
		page.Grant(t, c.Username, servers...)
		c.Password = password(statetest.Password)
		conn := connect(t, c)
		t.Run("suite", func(t *testing.T) {
			inflighttest.Run(t, func(*testing.T) inflight.Store { return New(conn) }, time.Sleep)
		})
		page.Check(t, owner, nil, servers...)
	}
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		c := standalone(server)
		c.Username = statetest.Namespace
		run(t, c, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		run(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs, Username: statetest.All}, cluster.Nodes...)
	})
}

func TestSizes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)))
	const keys = 20
	for range keys {
		asks := []inflight.Ask{{Key: inflighttest.Key(), Max: 1}}
		if _, err := store.Acquire(t.Context(), "AAAAAAAAAAAAAAAA.1f", inflight.Lease, asks); err != nil {
			t.Fatal(err)
		}
	}
	statetest.Read(t).CheckSizes(t, server, statetest.Units{"requests in progress": keys})
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	statetest.Read(t).Grant(t, statetest.Namespace, server)
	c := standalone(server)
	c.Username, c.Password = statetest.Namespace, password(statetest.Password)
	key := keyspace.New("ratelimit", "billing/orders").Key("rule", "in-flight", "}:{11:shop/orders}")
	_, err := New(connect(t, c)).Acquire(t.Context(), "1", inflight.Lease, []inflight.Ask{{Key: key, Max: 1}})
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("counting for another namespace: %v; want NOPERM", err)
	}
}

// TestClock: places that were taken before the server's clock was set back are not held until the old time.
func TestClock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store, client := New(connect(t, standalone(server))), server.Client()
	defer client.Close()
	key, later := inflighttest.Key(), time.Now().Add(time.Hour)
	if err := client.ZAdd(t.Context(), key, goredis.Z{Score: float64(later.UnixMilli()), Member: "killed"}).Err(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		free, err := store.Acquire(t.Context(), fmt.Sprint(i), inflight.Lease, []inflight.Ask{{Key: key, Max: 2}})
		if err != nil || free[0] != want {
			t.Errorf("request %d: %v, %v; want %v", i+1, free, err, want)
		}
	}
	score := client.ZScore(t.Context(), key, "killed").Val()
	if left := time.Until(time.UnixMilli(int64(score))); left > 2*inflight.Lease {
		t.Errorf("the place is held for %s", left)
	}
}

// TestEndedPlacesAreRemoved: a busy key does not keep the places of killed pods.
func TestEndedPlacesAreRemoved(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store, client := New(connect(t, standalone(server))), server.Client()
	defer client.Close()
	key := inflighttest.Key()
	for i := range 1500 {
		if err := client.ZAdd(t.Context(), key, goredis.Z{Score: float64(i), Member: i}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int64{500 + 1, 2} { // at most 1000 are removed at once
		if free, err := store.Acquire(t.Context(), fmt.Sprint("request-", i), inflight.Lease, []inflight.Ask{{Key: key, Max: 2}}); err != nil || !free[0] {
			t.Fatal(free, err)
		}
		if n := client.ZCard(t.Context(), key).Val(); n != want {
			t.Errorf("%d members; want %d", n, want)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause, "a replica": (*redistest.Server).Demote} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			store := New(connect(t, standalone(server)))
			fail(server)
			places := []inflight.Place{{Key: inflighttest.Key(), ID: "1"}}
			if _, err := store.Acquire(t.Context(), "1", inflight.Lease, []inflight.Ask{{Key: places[0].Key, Max: 1}}); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Acquire = %v", err)
			}
			if err := store.Renew(t.Context(), inflight.Lease, places); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Renew = %v", err)
			}
			if err := store.Release(t.Context(), places); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Release = %v", err)
			}
		})
	}
}

// fakeConn returns an empty reply, which Redis never does.
type fakeConn struct{}

func (fakeConn) Do(context.Context, func(context.Context, goredis.UniversalClient) error) error {
	return nil
}

func TestShortReply(t *testing.T) {
	if _, err := New(fakeConn{}).Acquire(t.Context(), "1", inflight.Lease, []inflight.Ask{{Key: "k", Max: 1}}); err == nil {
		t.Error("Acquire has no error")
	}
}
