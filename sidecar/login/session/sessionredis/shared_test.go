package sessionredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

const scope = "shop/orders"

var owner = session.Owner{Subject: "user-42"}

func login(maximum int, full session.WhenFull) session.New {
	id := session.NewID()
	return session.New{
		ID: id, Owner: owner, Refresh: session.NewRefresh(id),
		Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: maximum, WhenFull: full},
	}
}

// three are stores of three sidecars, each with its own connection.
func three(t *testing.T, server *redistest.Server) (stores []*Store) {
	t.Helper()
	for range 3 {
		stores = append(stores, New(connect(t, standalone(server)), scope, session.Timeouts{}))
	}
	return stores
}

func TestAHundredLoginsAtOnce(t *testing.T) {
	t.Parallel()
	const logins, maximum = 100, 3
	for _, full := range []session.WhenFull{session.EvictOldest, session.Reject} {
		t.Run(string(full), func(t *testing.T) {
			t.Parallel()
			stores := three(t, redistest.Start(t, redistest.Options{}))
			var begun, refused, evicted atomic.Int64
			var wg sync.WaitGroup
			for i := range logins {
				wg.Go(func() {
					_, gone, err := stores[i%3].Create(t.Context(), login(maximum, full))
					switch {
					case errors.Is(err, session.ErrFull):
						refused.Add(1)
					case err != nil:
						t.Error(err)
					default:
						begun.Add(1)
						evicted.Add(int64(len(gone)))
					}
				})
			}
			wg.Wait()
			sessions, err := stores[0].List(t.Context(), owner)
			if err != nil || len(sessions) != maximum || begun.Load()-evicted.Load() != maximum || begun.Load()+refused.Load() != logins {
				t.Errorf("%d sessions, %v; %d begun, %d refused, %d evicted", len(sessions), err, begun.Load(), refused.Load(), evicted.Load())
			}
			if full == session.Reject && begun.Load() != maximum {
				t.Errorf("%d logins passed; want exactly %d", begun.Load(), maximum)
			}
		})
	}
}

// TestTabsOnSeveralSidecars: one browser refreshes at all sidecars at once and ends up with one token.
func TestTabsOnSeveralSidecars(t *testing.T) {
	t.Parallel()
	stores := three(t, redistest.Start(t, redistest.Options{}))
	n := login(0, session.Reject)
	if _, _, err := stores[0].Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	tokens, outcomes := map[session.Refresh]bool{}, map[session.Outcome]int{}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			got, err := stores[i%3].Rotate(t.Context(), session.Rotation{Presented: n.Refresh, Salt: session.NewSalt(), Grace: time.Minute, Bind: session.BindNone})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			tokens[got.Current] = true
			outcomes[got.Outcome]++
		})
	}
	wg.Wait()
	if len(tokens) != 1 || outcomes[session.OutcomeRotated] != 1 || outcomes[session.OutcomeRetried] != 59 {
		t.Errorf("%d tokens, %v", len(tokens), outcomes)
	}
}

func TestEveryKeyExpires(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	if _, _, err := store.Create(t.Context(), login(0, session.Reject)); err != nil {
		t.Fatal(err)
	}
	external := login(0, session.Reject)
	external.Refresh, external.Issuer = session.Refresh{}, "https://issuer.example"
	if _, _, err := store.Admit(t.Context(), external, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := store.End(t.Context(), external.ID); err != nil {
		t.Fatal(err)
	}
	keys, ok := server.Do("KEYS", "*").([]any)
	if !ok || len(keys) != 4 { // two sessions, an owner, and the ended sessions of another owner
		t.Fatalf("keys %v", keys)
	}
	for _, key := range keys {
		if ttl, ok := server.Do("PTTL", key).(int64); !ok || ttl <= 0 || ttl > (25*time.Hour).Milliseconds() {
			t.Errorf("%s expires in %d ms", key, ttl)
		}
	}
}

func TestNoTokenIsStored(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	n := login(0, session.Reject)
	if _, _, err := store.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got, err := store.Rotate(t.Context(), session.Rotation{Presented: n.Refresh, Salt: session.NewSalt(), Grace: time.Minute, Bind: session.BindNone})
	if err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprint(server.Do("HGETALL", store.prefix+n.ID))
	for _, token := range []session.Refresh{n.Refresh, got.Current} {
		if text := string(token.Token().Reveal()); strings.Contains(content, text[len(text)-40:]) {
			t.Error("Redis holds a refresh token")
		}
	}
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	n := login(0, session.Reject)
	if _, _, err := store.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Touch(t.Context(), n.ID, time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "RESETSTAT")
	for range 5 {
		if _, err := store.Touch(t.Context(), n.ID, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	stats := fmt.Sprint(server.Do("INFO", "commandstats"))
	if !strings.Contains(stats, "cmdstat_evalsha:calls=5,") || strings.Contains(stats, "cmdstat_hset") {
		t.Errorf("five coalesced touches; want five scripts without a write: %s", stats)
	}
}

// TestServerLosesData covers the table of the docs: what a loss of server state does to a session.
func TestServerLosesData(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lose     func(*redistest.Server)
		wantLive bool
	}{
		"its scripts":     {lose: func(s *redistest.Server) { s.Do("SCRIPT", "FLUSH") }, wantLive: true},
		"all connections": {lose: func(s *redistest.Server) { s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }, wantLive: true},
		"hangs for a while": {lose: func(s *redistest.Server) {
			s.Pause()
			time.Sleep(300 * time.Millisecond)
			s.Resume()
		}, wantLive: true},
		"flushed":                    {lose: func(s *redistest.Server) { s.Do("FLUSHALL") }},
		"restarted, everything lost": {lose: (*redistest.Server).Restart},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			store := New(connect(t, standalone(server)), scope, session.Timeouts{})
			n := login(0, session.Reject)
			if _, _, err := store.Create(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			tt.lose(server)
			var err error
			redistest.Eventually(t, "a response", func() bool {
				_, err = store.Get(t.Context(), n.ID)
				return err == nil || errors.Is(err, session.ErrEnded)
			})
			if (err == nil) != tt.wantLive {
				t.Errorf("the session: %v; want it to continue: %v", err, tt.wantLive)
			}
			redistest.Eventually(t, "a new login", func() bool {
				_, _, err := store.Create(t.Context(), login(0, session.Reject))
				return err == nil
			})
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fail            func(*redistest.Server)
		wantUnavailable bool
	}{
		"stopped":       {fail: (*redistest.Server).Stop, wantUnavailable: true},
		"hanging":       {fail: (*redistest.Server).Pause, wantUnavailable: true},
		"out of memory": {fail: func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			config := standalone(server)
			config.Timeout = 200 * time.Millisecond
			store := New(connect(t, config), scope, session.Timeouts{})
			tt.fail(server)
			n := login(0, session.Reject)
			_, _, errCreate := store.Create(t.Context(), n)
			_, errRotate := store.Rotate(t.Context(), session.Rotation{Presented: n.Refresh, Bind: session.BindNone})
			_, errTouch := store.Touch(t.Context(), n.ID, 0)
			_, errList := store.List(t.Context(), owner)
			_, errEnd := store.End(t.Context(), n.ID)
			_, errEndAll := store.EndAll(t.Context(), owner, "")
			for i, err := range []error{errCreate, errRotate, errTouch, errList, errEnd, errEndAll} {
				if tt.wantUnavailable && !errors.Is(err, redis.ErrUnavailable) || i == 0 && err == nil || tt.wantUnavailable && errors.Is(err, session.ErrEnded) {
					t.Errorf("operation %d: %v", i, err)
				}
			}
		})
	}
}

func TestForeignValues(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	list, nonsense := session.NewID(), session.NewID()
	server.Do("RPUSH", store.prefix+list, "x")
	server.Do("HSET", store.prefix+nonsense, "created", "x")
	for _, id := range []string{list, nonsense} {
		if _, err := store.Get(t.Context(), id); err == nil || errors.Is(err, session.ErrEnded) {
			t.Errorf("Get = %v; want a store error", err)
		}
	}
}

func TestSlowLink(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	config := standalone(server)
	config.Addresses = []string{redistest.SlowLink(t, server.Addr, 200*time.Millisecond)}
	store := New(connect(t, config), scope, session.Timeouts{})
	n := login(0, session.Reject)
	if _, _, err := store.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got, err := store.Rotate(t.Context(), session.Rotation{Presented: n.Refresh, Salt: session.NewSalt(), Bind: session.BindNone})
	if err != nil || got.Outcome != session.OutcomeRotated {
		t.Errorf("Rotate = %q, %v", got.Outcome, err)
	}
}

func TestClusterAndFailover(t *testing.T) {
	t.Parallel()
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		statetest.Read(t).Grant(t, statetest.All, cluster.Nodes...)
		conn := connect(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs, Username: statetest.All, Password: password(statetest.Password), Timeout: 5 * time.Second})
		for i := range 5 { // scopes on several nodes
			wholeLife(t, New(conn, fmt.Sprint("shop/", i), session.Timeouts{}))
		}
	})
	t.Run("failover", func(t *testing.T) {
		t.Parallel()
		s := redistest.StartSentinel(t, "s3cret", "s3ntinel")
		statetest.Read(t).Grant(t, statetest.All, s.Master, s.Replica)
		store := New(connect(t, redis.Config{Mode: redis.Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName,
			Username: statetest.All, Password: password(statetest.Password), SentinelPassword: password("s3ntinel"), Timeout: time.Second}), scope, session.Timeouts{})
		n := login(0, session.Reject)
		if _, _, err := store.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		s.Master.Do("WAIT", 1, 5000)
		s.Master.Stop()
		redistest.Eventually(t, "the session at the new master", func() bool {
			_, err := store.Touch(t.Context(), n.ID, 0)
			if errors.Is(err, session.ErrEnded) {
				t.Fatal("the session was lost")
			}
			return err == nil
		})
	})
}

// wholeLife runs every script once.
func wholeLife(t *testing.T, store *Store) {
	t.Helper()
	for range 3 {
		n := login(2, session.EvictOldest)
		if _, _, err := store.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Rotate(t.Context(), session.Rotation{Presented: n.Refresh, Salt: session.NewSalt(), Bind: session.BindNone}); err != nil || got.Outcome != session.OutcomeRotated {
			t.Fatal(got.Outcome, err)
		}
	}
	sessions, err := store.List(t.Context(), owner)
	if err != nil || len(sessions) != 2 {
		t.Fatal(sessions, err)
	}
	if ended, err := store.End(t.Context(), sessions[0].ID); !ended || err != nil {
		t.Error(ended, err)
	}
	if ids, err := store.EndAll(t.Context(), owner, ""); len(ids) != 1 || err != nil {
		t.Error(ids, err)
	}
}
