package loginprotectionredis

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
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/loginprotection/loginprotectiontest"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/stages/loginprotection/loginprotectionredis"

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

// TestStore runs as the users of docs/state.md, which allow only what the page says.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, servers ...*redistest.Server) {
		page.Grant(t, c.Username, servers...)
		c.Password = password(statetest.Password)
		store := New(connect(t, c))
		t.Run("suite", func(t *testing.T) {
			loginprotectiontest.Run(t, func(*testing.T) loginprotection.Store { return store })
		})
		everyKey(t, store)
		page.Check(t, owner, statetest.Bounds{"within": time.Hour, "maxLock": time.Hour}, servers...)
	}
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		run(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Username: statetest.Namespace}, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		run(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs, Username: statetest.All}, cluster.Nodes...)
	})
}

// everyKey writes a key of each row of the page.
func everyKey(t *testing.T, s *Store) {
	t.Helper()
	space := keyspace.New("login", "shop/orders")
	for _, key := range []string{space.Key("address", "Login", "192.0.2.1/32"), space.Key("device", space.Hash("account", "ada"), "00ff"), space.Key("all")} {
		c := []loginprotection.Counter{{Key: key, Limit: 2, Within: time.Hour, LockFor: time.Minute, MaxLock: time.Hour}}
		if _, err := s.End(t.Context(), c, []loginprotection.Outcome{loginprotection.Fail}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), space.Key("sample", "login", "html"), []byte("{}"), 7*24*time.Hour, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), space.Key("device-key"), []byte("key"), 366*24*time.Hour, true); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	statetest.Read(t).Grant(t, statetest.Namespace, server)
	store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Username: statetest.Namespace, Password: password(statetest.Password)}))
	key := keyspace.New("login", "billing/orders").Key("account", "Login", "}:{11:shop/orders}")
	_, err := store.Begin(t.Context(), []loginprotection.Counter{{Key: key, Limit: 1, Within: time.Hour}})
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("counting for another namespace: %v; want NOPERM", err)
	}
}

// TestLeakedAttempts: attempts that never ended are forgotten in time, also while others begin and end.
func TestLeakedAttempts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}))
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	const key = "postern:login:{11:shop/orders}:leaked"
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	old, young := now.Add(-loginprotection.PendingFor).UnixMilli(), now.Add(-loginprotection.PendingFor/4).UnixMilli()
	if err := client.HSet(t.Context(), key, "p", fmt.Sprintf("%d,%d,%d", old, old, young)).Err(); err != nil {
		t.Fatal(err)
	}
	c := []loginprotection.Counter{{Key: key, Limit: 3, Within: time.Hour}}
	for range 3 {
		if b, err := store.Begin(t.Context(), c); err != nil || !b.Allowed {
			t.Fatalf("%+v, %v", b, err)
		}
		if _, err := store.End(t.Context(), c, []loginprotection.Outcome{loginprotection.Release}); err != nil {
			t.Fatal(err)
		}
	}
	if left := client.HGet(t.Context(), key, "p").Val(); left != fmt.Sprint(young) {
		t.Errorf("%q is pending; want %d", left, young)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	counters := []loginprotection.Counter{{Key: "postern:login:{11:shop/orders}:k", Limit: 1, Within: time.Hour}}
	for name, fail := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause, "a replica": (*redistest.Server).Demote} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}))
			fail(server)
			if _, err := store.Begin(t.Context(), counters); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Begin = %v", err)
			}
			if _, err := store.End(t.Context(), counters, []loginprotection.Outcome{loginprotection.Fail}); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("End = %v", err)
			}
			if _, err := store.Get(t.Context(), "postern:login:{11:shop/orders}:k"); err == nil {
				t.Error("Get has no error")
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
	counters := []loginprotection.Counter{{Key: "k", Limit: 1, Within: time.Hour}}
	if _, err := New(fakeConn{}).Begin(t.Context(), counters); err == nil {
		t.Error("Begin has no error")
	}
	if _, err := New(fakeConn{}).End(t.Context(), counters, []loginprotection.Outcome{loginprotection.Fail}); err == nil {
		t.Error("End has no error")
	}
}
