package ratelimitredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimittest"
	"github.com/posterndev/postern/sidecar/store/keyspace"
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

// standalone allows enough time for each round trip on a busy machine.
func standalone(s *redistest.Server) redis.Config {
	return redis.Config{Mode: redis.Standalone, Addresses: []string{s.Addr}, Timeout: 5 * time.Second}
}

// TestStore runs as the users of docs/state.md, which allow only what the page says.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, servers ...*redistest.Server) {
		page.Grant(t, c.Username, servers...)
		c.Password, c.Timeout = password(statetest.Password), 5*time.Second
		conn := connect(t, c)
		t.Run("suite", func(t *testing.T) {
			ratelimittest.Run(t, func(*testing.T) ratelimit.Store { return New(conn) })
		})
		page.Check(t, owner, statetest.Bounds{"burst × period / limit": 1000 * time.Hour}, servers...)
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
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		s := redistest.StartSentinel(t, "s3cret", "s3ntinel")
		run(t, redis.Config{Mode: redis.Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName,
			SentinelPassword: password("s3ntinel"), Username: statetest.All}, s.Master)
	})
}

func take(tb testing.TB, s *Store, key string, burst int) ratelimit.Result {
	tb.Helper()
	results, err := s.Take(tb.Context(), []ratelimit.Request{{Key: key, Rate: gcra.Rate{Emission: time.Hour, Burst: burst}}})
	if err != nil {
		tb.Fatal(err)
	}
	return results[0]
}

func TestReplicasShareOneLimitExactly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	const quota, replicas, callers = 100, 3, 60
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range replicas {
		store := New(connect(t, standalone(server)))
		for range callers {
			wg.Go(func() {
				for range 2 {
					if take(t, store, "k", quota).Allowed {
						allowed.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	if allowed.Load() != quota {
		t.Errorf("%d passed; want %d", allowed.Load(), quota)
	}
}

// TestReplicasChargeExactly: every failed login counts, on any replica.
func TestReplicasChargeExactly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	const quota, replicas, callers = 10, 3, 20
	requests := []ratelimit.Request{{Key: "k", Rate: gcra.Rate{Emission: time.Hour, Burst: quota, Debt: 1000}}}
	var wg sync.WaitGroup
	var last *Store
	for range replicas {
		store := New(connect(t, standalone(server)))
		last = store
		for range callers {
			wg.Go(func() {
				if _, err := store.Charge(t.Context(), requests); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	got, err := last.Peek(t.Context(), requests)
	if want := (replicas*callers - quota + 1) * time.Hour; err != nil || got[0].Allowed || got[0].Next > want || got[0].Next < want-time.Minute {
		t.Errorf("after %d charges: %+v, %v; want one more after %s", replicas*callers, got, err, want)
	}
}

func TestOneRoundTripAndExpiry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)))
	take(t, store, "warm", 1)
	server.Do("CONFIG", "RESETSTAT")
	requests := []ratelimit.Request{
		{Key: "a", Rate: gcra.Rate{Emission: time.Minute, Burst: 5}}, {Key: "b", Rate: gcra.Rate{Emission: time.Hour, Burst: 5}},
	}
	if _, err := store.Take(t.Context(), requests); err != nil {
		t.Fatal(err)
	}
	stats := fmt.Sprint(server.Do("INFO", "commandstats"))
	if !strings.Contains(stats, "cmdstat_evalsha:calls=1,") || strings.Contains(stats, "cmdstat_eval:") {
		t.Errorf("want exactly one EVALSHA: %s", stats)
	}
	for key, atMost := range map[string]int64{"a": 60_000, "b": 3_600_000} {
		if ttl, ok := server.Do("PTTL", key).(int64); !ok || ttl <= 0 || ttl > atMost {
			t.Errorf("%s expires in %d ms; want at most %d", key, ttl, atMost)
		}
	}
}

func TestServerLosesState(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)))
	tests := []struct {
		name          string
		forget        func()
		wantRemaining int
	}{
		{"nothing", func() {}, 9},
		{"its scripts", func() { server.Do("SCRIPT", "FLUSH") }, 8},
		{"all keys", func() { server.Do("FLUSHALL") }, 9},
		{"everything, after a restart", server.Restart, 9},
	}
	for _, tt := range tests {
		tt.forget()
		var result ratelimit.Result
		redistest.Eventually(t, tt.name, func() bool {
			results, err := store.Take(t.Context(), []ratelimit.Request{{Key: "k", Rate: gcra.Rate{Emission: time.Hour, Burst: 10}}})
			if err == nil {
				result = results[0]
			}
			return err == nil
		})
		if !result.Allowed || result.Remaining != tt.wantRemaining {
			t.Errorf("after the server lost %s: %+v; want %d remaining", tt.name, result, tt.wantRemaining)
		}
	}
}

func TestForeignValues(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)))
	server.Do("RPUSH", "list", "x")
	server.Do("SET", "text", "x")
	server.Do("SET", "far future", "9e300")
	for _, key := range []string{"list", "text"} {
		if got := take(t, store, key, 2); !got.Allowed || got.Remaining != 1 {
			t.Errorf("%s: %+v", key, got)
		}
	}
	if got := take(t, store, "far future", 2); got.Allowed || got.Next > time.Hour {
		t.Errorf("a time in the far future: %+v; want a used quota", got)
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
		"a replica":     {fail: (*redistest.Server).Demote, wantUnavailable: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			config := standalone(server)
			config.Timeout = redis.DefaultTimeout
			store := New(connect(t, config))
			tt.fail(server)
			requests := []ratelimit.Request{{Key: "k", Rate: gcra.Rate{Emission: time.Hour, Burst: 1}}}
			for name, ask := range map[string]func(context.Context, []ratelimit.Request) ([]ratelimit.Result, error){"Take": store.Take, "Charge": store.Charge} {
				if _, err := ask(t.Context(), requests); err == nil || errors.Is(err, redis.ErrUnavailable) != tt.wantUnavailable {
					t.Errorf("%s = %v; want an error, unavailable: %v", name, err, tt.wantUnavailable)
				}
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
	if _, err := New(fakeConn{}).Take(t.Context(), []ratelimit.Request{{Key: "k", Rate: gcra.Rate{Emission: time.Hour, Burst: 1}}}); err == nil {
		t.Error("no error")
	}
}

// TestEqualsMemory runs random sequences through both stores under one clock, which the script reads from a key.
func TestEqualsMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	shared := New(connect(t, standalone(server)))
	timed := strings.Replace(limitsScript, "redis.call('TIME')", "redis.call('MGET', 'seconds', 'micros')", 1)
	if timed == limitsScript {
		t.Fatal("the script does not read its clock as this test expects")
	}
	shared.batches.script = goredis.NewScript(timed)
	client := server.Client()
	defer client.Close()

	now := time.Now()
	local := ratelimitmemory.New(ratelimitmemory.Config{Now: func() time.Time { return now }})
	random := rand.New(rand.NewPCG(1, 2))
	rates := make([]gcra.Rate, 6)
	for i := range rates {
		// Much longer than the test runs, because Redis expires keys by its own clock.
		rates[i] = gcra.Rate{Emission: 2*time.Minute + time.Duration(random.IntN(1e9))*time.Microsecond, Burst: 1 + random.IntN(6), Debt: max(0, random.IntN(8)-3)}
	}
	for step := range 3000 {
		now = now.Add(time.Duration(random.IntN(100e6)) * time.Microsecond)
		if err := client.MSet(t.Context(), "seconds", now.Unix(), "micros", now.Nanosecond()/1000).Err(); err != nil {
			t.Fatal(err)
		}
		var requests []ratelimit.Request
		for _, k := range random.Perm(len(rates))[:1+random.IntN(4)] {
			requests = append(requests, ratelimit.Request{Key: fmt.Sprint("k", k), Rate: rates[(k+random.IntN(20)/19)%len(rates)], Shadow: random.IntN(4) == 0})
		}
		ask := []func(ratelimit.Store, context.Context, []ratelimit.Request) ([]ratelimit.Result, error){
			ratelimit.Store.Take, ratelimit.Store.Take, ratelimit.Store.Peek, ratelimit.Store.Charge,
		}[random.IntN(4)]
		a, err := ask(shared, t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := ask(local, t.Context(), requests)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("step %d, %+v: Redis returns %+v, memory %+v", step, requests[i], a[i], b[i])
			}
		}
	}
}

// BenchmarkConcurrent has 32 requests at a time. It reports how often Redis read from a connection, and its CPU time, for each decision.
func BenchmarkConcurrent(b *testing.B) {
	server := redistest.Start(b, redistest.Options{})
	store := New(connect(b, standalone(server)))
	requests := []ratelimit.Request{{Key: keyspace.New("bench", "shop/orders").Key("k"), Rate: gcra.Rate{Emission: time.Microsecond, Burst: 1e6}}}
	reads, cpu, own := stat(b, server, "total_reads_processed"), redisCPU(b, server), ownCPU(b)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := store.Take(b.Context(), requests); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric((stat(b, server, "total_reads_processed")-reads)/n, "reads/op")
	b.ReportMetric((redisCPU(b, server)-cpu)*1e9/n, "redis-ns/op")
	b.ReportMetric((ownCPU(b)-own)*1e9/n, "cpu-ns/op")
}

// stat returns a number of INFO.
func stat(tb testing.TB, server *redistest.Server, name string) float64 {
	tb.Helper()
	info, _ := server.Do("INFO", "everything").(string)
	_, rest, ok := strings.Cut(info, "\n"+name+":")
	line, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseFloat(line, 64)
	if !ok || err != nil {
		tb.Fatalf("INFO has no %s", name)
	}
	return n
}

func redisCPU(tb testing.TB, server *redistest.Server) float64 {
	tb.Helper()
	return stat(tb, server, "used_cpu_sys") + stat(tb, server, "used_cpu_user")
}

// ownCPU returns the CPU time of this process in seconds.
func ownCPU(tb testing.TB) float64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func BenchmarkTake(b *testing.B) {
	store := New(connect(b, standalone(redistest.Start(b, redistest.Options{}))))
	for _, limits := range []int{1, 3} {
		space := keyspace.New("bench", "shop/orders")
		var requests []ratelimit.Request
		for i := range limits {
			requests = append(requests, ratelimit.Request{Key: space.Key(fmt.Sprint(i)), Rate: gcra.Rate{Emission: time.Microsecond, Burst: 1e6}})
		}
		b.Run(fmt.Sprint(limits, " limits"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := store.Take(b.Context(), requests); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
