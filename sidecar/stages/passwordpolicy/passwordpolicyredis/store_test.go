package passwordpolicyredis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy/passwordpolicytest"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/stages/passwordpolicy/passwordpolicyredis"

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
			passwordpolicytest.Run(t, func(*testing.T) passwordpolicy.Store { return store })
		})
		page.Check(t, owner, statetest.Bounds{"maxAge": 69 * 24 * time.Hour}, servers...)
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

// TestSize: an account with five remembered passwords is as large as the page says.
func TestSize(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}))
	space := keyspace.New("login", "shop/orders")
	key := space.Key("password", space.Hash("account", "ada"))
	for range 5 {
		hash := "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("s", 22) + "$" + strings.Repeat("h", 43)
		if err := store.Add(t.Context(), key, hash, 5, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	statetest.Read(t).CheckSizes(t, server, statetest.Units{"last passwords of an account": 1})
}

// TestTheWindowEnds: comparisons are possible again after the window, by the clock of Redis, also if that was set back.
func TestTheWindowEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}))
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	const key = "postern:login:{11:shop/orders}:8:password:3:ada"
	if err := store.Add(t.Context(), key, "a", 3, time.Hour); err != nil {
		t.Fatal(err)
	}
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if at, err := store.Changed(t.Context(), key); err != nil || now.Sub(at).Abs() > time.Hour {
		t.Errorf("changed %s, %v", at, err)
	}
	for name, tt := range map[string]struct {
		began time.Time
		want  bool
	}{"used up": {now.Add(-time.Minute), false}, "over": {now.Add(-passwordpolicy.JudgedWithin), true}, "in the future": {now.Add(time.Hour), true}} {
		if err := client.HSet(t.Context(), key, "w", tt.began.UnixMilli(), "n", passwordpolicy.JudgedLimit).Err(); err != nil {
			t.Fatal(err)
		}
		if hashes, wait, err := store.Old(t.Context(), key); err != nil || (len(hashes) == 1) != tt.want || (wait > 0) == tt.want {
			t.Errorf("%s: %q, %s, %v", name, hashes, wait, err)
		}
	}
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	statetest.Read(t).Grant(t, statetest.Namespace, server)
	store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Username: statetest.Namespace, Password: password(statetest.Password)}))
	key := keyspace.New("login", "billing/orders").Key("password", "}:{11:shop/orders}")
	if _, _, err := store.Old(t.Context(), key); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("reading another namespace: %v; want NOPERM", err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	const key = "postern:login:{11:shop/orders}:8:password:1:k"
	for name, fail := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause, "a replica": (*redistest.Server).Demote} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			store := New(connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}))
			fail(server)
			if err := store.Add(t.Context(), key, "a", 1, time.Hour); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Add = %v", err)
			}
			if _, _, err := store.Old(t.Context(), key); !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("Old = %v", err)
			}
			if _, err := store.Changed(t.Context(), key); err == nil && name != "a replica" {
				t.Error("Changed has no error")
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
	if _, _, err := New(fakeConn{}).Old(t.Context(), "k"); err == nil {
		t.Error("Old has no error")
	}
}
