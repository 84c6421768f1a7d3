package revocationredis

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationtest"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

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

// TestStore runs as the users of docs/state.md, which allow only what the page lists. A namespace is a scope, so only the user
// of all namespaces can have an empty store for each test.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, servers ...*redistest.Server) {
		page.Grant(t, statetest.All, servers...)
		c.Username, c.Password, c.Timeout = statetest.All, password(statetest.Password), 5*time.Second
		conn := connect(t, c)
		t.Run("suite", func(t *testing.T) {
			revocationtest.Run(t, func(t *testing.T) revocationtest.Store {
				return New(conn, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
			})
		})
		if _, err := New(conn, "shop").Count(t.Context()); err != nil {
			t.Error(err)
		}
		page.Check(t, stateOwner, statetest.Bounds{"longest revocation": revocation.MaxRetention}, servers...)
	}
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		run(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		run(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs}, cluster.Nodes...)
	})
}

const issuer = "https://issuer.example"

func token(jti string) revocation.Entry {
	return revocation.Entry{Kind: revocation.Token, Issuer: issuer, Value: jti, Expires: time.Now().Add(time.Hour)}
}

// replica is one sidecar's index.
func replica(t *testing.T, conn *redis.Conn) *revocation.Index {
	t.Helper()
	x, err := revocation.NewIndex(revocation.IndexConfig{Feed: New(conn, "shop/orders"), MaxStaleness: time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

func ready(t *testing.T, x *revocation.Index) {
	t.Helper()
	redistest.Eventually(t, "the index to be complete", func() bool {
		select {
		case <-x.Ready():
			return true
		default:
			return false
		}
	})
}

func revoke(t *testing.T, conn *redis.Conn, entries ...revocation.Entry) revocation.Position {
	t.Helper()
	var p revocation.Position
	redistest.Eventually(t, "the revocation to be accepted", func() (ok bool) {
		var err error
		p, err = New(conn, "shop/orders").Add(t.Context(), entries...)
		return err == nil
	})
	return p
}

func revoked(t *testing.T, x *revocation.Index, jti string) bool {
	t.Helper()
	yes, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: jti})
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

func wantRevoked(t *testing.T, x *revocation.Index, jtis ...string) {
	t.Helper()
	for _, jti := range jtis {
		redistest.Eventually(t, "token "+jti+" to be refused", func() bool { return revoked(t, x, jti) })
	}
}

func fresh(t *testing.T, x *revocation.Index) {
	t.Helper()
	redistest.Eventually(t, "the index to be fresh", func() bool { return x.Age() < 2*time.Second })
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, standalone(server))
	revoke(t, conn, token("before"))
	one, two := replica(t, connect(t, standalone(server))), replica(t, connect(t, standalone(server)))
	ready(t, one)
	ready(t, two)
	if !revoked(t, one, "before") || !revoked(t, two, "before") {
		t.Error("an index was ready but not complete")
	}
	var slowest time.Duration
	for i := range 20 {
		jti := fmt.Sprint("token", i)
		start := time.Now()
		p := revoke(t, conn, token(jti))
		for _, x := range []*revocation.Index{one, two} {
			for !revoked(t, x, jti) || !x.Applied().Covers(p) {
				time.Sleep(100 * time.Microsecond)
				if time.Since(start) > 30*time.Second {
					t.Fatal("the revocation did not arrive")
				}
			}
		}
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("from revocation to refusal on both, slowest of 20: %s", slowest)
}

// TestServerLosesData: what an index knew stays revoked, and the index follows later changes.
func TestServerLosesData(t *testing.T) {
	t.Parallel()
	stream, meta := New(nil, "shop/orders").stream, New(nil, "shop/orders").meta
	tests := map[string]func(*redistest.Server){
		"restarted, everything lost": (*redistest.Server).Restart,
		"flushed":                    func(s *redistest.Server) { s.Do("FLUSHALL") },
		"only the stream":            func(s *redistest.Server) { s.Do("DEL", stream) },
		"the stream is trimmed":      func(s *redistest.Server) { s.Do("XTRIM", stream, "MAXLEN", "0") },
		"only the position":          func(s *redistest.Server) { s.Do("DEL", meta) },
		"its scripts":                func(s *redistest.Server) { s.Do("SCRIPT", "FLUSH") },
		"all connections":            func(s *redistest.Server) { s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") },
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			conn := connect(t, standalone(server))
			x := replica(t, conn)
			ready(t, x)
			revoke(t, conn, token("before"))
			wantRevoked(t, x, "before")
			lose(server)
			p := revoke(t, conn, token("after"))
			wantRevoked(t, x, "after", "before")
			redistest.Eventually(t, "the position to be covered", func() bool { return x.Applied().Covers(p) })
			fresh(t, x)
		})
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ fail, heal func(*redistest.Server) }{
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"hanging": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			config := standalone(server)
			config.Timeout = 200 * time.Millisecond
			conn := connect(t, config)
			x := replica(t, conn)
			ready(t, x)
			revoke(t, conn, token("before"))
			wantRevoked(t, x, "before")
			tt.fail(server)
			redistest.Eventually(t, "the index to be stale", func() bool { return x.Age() > time.Second })
			if !revoked(t, x, "before") {
				t.Error("a known revocation was forgotten")
			}
			tt.heal(server)
			revoke(t, conn, token("after"))
			wantRevoked(t, x, "after")
			fresh(t, x)
		})
	}
}

func TestStartDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, standalone(server))
	server.Stop()
	x := replica(t, conn)
	select {
	case <-x.Ready():
		t.Error("an index is complete although the store was never available")
	case <-time.After(300 * time.Millisecond):
	}
	if x.Age() < time.Hour {
		t.Errorf("age %s of an index that was never loaded", x.Age())
	}
	server.Restart()
	ready(t, x)
	fresh(t, x)
}

func TestSlowLink(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	config := standalone(server)
	config.Addresses = []string{redistest.SlowLink(t, server.Addr, 200*time.Millisecond)}
	x := replica(t, connect(t, config))
	ready(t, x)
	revoke(t, connect(t, standalone(server)), token("a"))
	wantRevoked(t, x, "a")
	fresh(t, x)
}

func TestFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "s3cret", "s3ntinel")
	conn := connect(t, redis.Config{Mode: redis.Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName,
		Password: password("s3cret"), SentinelPassword: password("s3ntinel"), Timeout: time.Second})
	x := replica(t, conn)
	ready(t, x)
	revoke(t, conn, token("before"))
	wantRevoked(t, x, "before")
	s.Master.Do("WAIT", 1, 5000)
	// A write that the replica never sees is lost in the failover; the index that saw it keeps it.
	s.Replica.Pause()
	revoke(t, conn, token("lost"))
	wantRevoked(t, x, "lost")
	s.Master.Stop()
	s.Replica.Resume()
	redistest.Eventually(t, "the replica to be promoted", s.Replica.IsMaster)
	revoke(t, conn, token("after"))
	wantRevoked(t, x, "after", "before", "lost")
	fresh(t, x)
}

// TestFailoverWithEqualCounts: after a failover the counts can be equal although the content differs.
func TestFailoverWithEqualCounts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, standalone(server))
	revoke(t, conn, token("a"))
	store := New(conn, "shop/orders")
	cursor, err := store.Load(t.Context(), func([]revocation.Entry) {})
	if err != nil {
		t.Fatal(err)
	}
	cursor.Tip = "the tip of a change that was lost"
	if err := store.Follow(t.Context(), cursor, time.Second, nil); err != revocation.ErrGap {
		t.Errorf("following: %v; want a gap", err)
	}
}

func TestEverythingExpires(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	revoke(t, connect(t, standalone(server)), token("a"))
	store := New(nil, "shop/orders")
	for _, key := range []string{store.meta, store.entries, store.expiry, store.stream} {
		if ttl, ok := server.Do("PTTL", key).(int64); !ok || ttl <= 0 || ttl > (2*time.Hour).Milliseconds()+1000 {
			t.Errorf("%s expires in %d ms", key, ttl)
		}
	}
}

func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), "shop/orders")
	server.Do("HSET", store.entries, token("a").ID(), "nonsense")
	if _, err := store.Find(t.Context(), []revocation.Entry{token("a")}); err == nil {
		t.Error("an unreadable entry was found")
	}
	if _, err := store.Load(t.Context(), func([]revocation.Entry) {}); err == nil {
		t.Error("an unreadable entry was loaded")
	}
}
