package inflight_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflightmemory"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// remote is a store in memory that can be unavailable.
type remote struct {
	*inflightmemory.Store
	mu   sync.Mutex
	away error
	// renewing is called before places are renewed.
	renewing func([]inflight.Place)
	renewals int
	// failures is the number of releases that failed.
	failures int
	// lost is what the next Acquire returns after it took the places.
	lost error
	// users is the number of its users.
	users int
}

func (r *remote) use() func() {
	r.count(1)
	return func() { r.count(-1) }
}

func (r *remote) count(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users += n
	return r.users
}

func (r *remote) late(lost error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = lost
}

func (r *remote) set(away error, renewing func([]inflight.Place)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.renewing = away, renewing
}

func (r *remote) failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

func (r *remote) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

func (r *remote) renewed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewals
}

func (r *remote) Acquire(ctx context.Context, id string, lease time.Duration, asks []inflight.Ask) ([]bool, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	lost := r.lost
	r.lost = nil
	r.mu.Unlock()
	free, err := r.Store.Acquire(ctx, id, lease, asks)
	if lost != nil {
		return nil, lost
	}
	return free, err
}

func (r *remote) Renew(ctx context.Context, lease time.Duration, places []inflight.Place) error {
	r.mu.Lock()
	renewing, away := r.renewing, r.away
	r.renewals++
	r.mu.Unlock()
	if renewing != nil {
		renewing(places)
	}
	if away != nil {
		return away
	}
	return r.Store.Renew(ctx, lease, places)
}

func (r *remote) Release(ctx context.Context, places []inflight.Place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	away := r.away
	if away != nil {
		r.failures++
	}
	r.mu.Unlock()
	if away != nil {
		return away
	}
	return r.Store.Release(ctx, places)
}

// held returns how many places the store holds under the key.
func held(t *testing.T, s inflight.Store, key string) (n int) {
	t.Helper()
	for ; ; n++ {
		free, err := s.Acquire(t.Context(), "probe", inflight.Lease, []inflight.Ask{{Key: key, Max: n + 1}})
		if err != nil {
			t.Fatal(err)
		}
		if free[0] {
			_ = s.Release(t.Context(), []inflight.Place{{Key: key, ID: "probe"}})
			return n
		}
	}
}

type fixture struct {
	t      *testing.T
	keeper *inflight.Keeper
	local  *inflightmemory.Store
	remote *remote
	places *inflight.Places
	log    *bytes.Buffer
	reg    *prometheus.Registry
}

func newFixture(t *testing.T, lease time.Duration) *fixture {
	f := &fixture{t: t, local: inflightmemory.New(nil), remote: &remote{Store: inflightmemory.New(nil)}, log: &bytes.Buffer{}, reg: prometheus.NewRegistry()}
	metrics, err := inflight.NewMetrics(f.reg)
	if err != nil {
		t.Fatal(err)
	}
	f.keeper, err = inflight.NewKeeper(inflight.Config{Local: f.local, Lease: lease, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.keeper.Close)
	f.places = f.keeper.Places(f.remote, f.remote.use)
	return f
}

func allow(error) error { return nil }

func (f *fixture) acquire(max int, want bool) *inflight.Holding {
	f.t.Helper()
	free, h, err := f.places.Acquire(f.t.Context(), []inflight.Ask{{Key: "k", Max: max}}, allow)
	if err != nil || free[0] != want || (h != nil) != want {
		f.t.Fatalf("%v, %v, %v; want %v", free, h, err, want)
	}
	return h
}

var errAway = errors.New("away")

// TestRenewals: places are held for longer than their lease, also those that the store lost, until they are released.
func TestRenewals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Second)
	h := f.acquire(1, true)
	before := f.remote.renewed()
	redistest.Eventually(t, "two leases to pass", func() bool { return f.remote.renewed() > before+6 })
	f.acquire(1, false)
	h.Release(t.Context())
	h.Release(t.Context()) // has no effect
	if n := held(t, f.remote.Store, "k"); n != 0 {
		t.Errorf("%d places are held after the release", n)
	}
	if n := held(t, f.local, "k"); n != 0 {
		t.Errorf("%d places are held in this process", n)
	}
}

// TestReleaseDuringRenewal: a request that ends while it is renewed holds nothing afterwards. The store's clock stands still, so no
// lease ends by itself.
func TestReleaseDuringRenewal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 30*time.Millisecond)
	f.remote.Store = inflightmemory.New(func() time.Time { return time.Unix(1e9, 0) })
	h := f.acquire(1, true)
	before := f.remote.renewed()
	var once sync.Once
	f.remote.set(nil, func([]inflight.Place) { once.Do(func() { h.Release(t.Context()) }) })
	redistest.Eventually(t, "a renewal", func() bool { return f.remote.renewed() > before })
	redistest.Eventually(t, "the place to be released again", func() bool { return held(t, f.remote.Store, "k") == 0 })
}

// TestClientDisconnects: places are released also if the request was canceled.
func TestClientDisconnects(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0)
	h := f.acquire(1, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Release(ctx)
	f.acquire(1, true).Release(t.Context())
}

// TestStoreIsAway: the process decides by its own requests, and the store gets them when it is back.
func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Second)
	f.acquire(2, true)
	f.remote.set(errAway, nil)
	f.acquire(2, true)
	f.acquire(2, false)
	refusal := errors.New("refused")
	if free, h, err := f.places.Acquire(t.Context(), []inflight.Ask{{Key: "k", Max: 9}}, func(cause error) error {
		if !errors.Is(cause, errAway) {
			t.Errorf("the cause is %v", cause)
		}
		return refusal
	}); !errors.Is(err, refusal) || free != nil || h != nil {
		t.Errorf("%v, %v, %v", free, h, err)
	}
	before := f.remote.renewed()
	redistest.Eventually(t, "renewals to fail", func() bool { return f.remote.renewed() > before+4 }) // longer than a lease
	f.acquire(2, false)
	f.remote.set(nil, nil)
	redistest.Eventually(t, "the store to have both requests", func() bool { return held(t, f.remote.Store, "k") == 2 })
	f.keeper.Close()
	if n := held(t, f.remote.Store, "k"); n != 0 {
		t.Errorf("%d places are held after Close", n)
	}
	if lines := strings.Count(f.log.String(), "could not be renewed"); lines != 1 {
		t.Errorf("%d lines for one outage: %s", lines, f.log)
	}
	if n := testutil.CollectAndCount(f.reg, "postern_in_flight_renewal_failures_total"); n != 1 {
		t.Errorf("%d metrics", n)
	}
}

// TestSeveralProcesses: requests of different processes never share a place.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0)
	other, err := inflight.NewKeeper(inflight.Config{Local: inflightmemory.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f.acquire(2, true)
	asks := []inflight.Ask{{Key: "k", Max: 2}}
	if free, _, err := other.Places(f.remote, nil).Acquire(t.Context(), asks, allow); err != nil || !free[0] {
		t.Fatal(free, err)
	}
	f.acquire(2, false)
}

// TestOneGoroutine: requests in progress add none. It does not run in parallel, so that no other test changes the number.
func TestOneGoroutine(t *testing.T) {
	f := newFixture(t, 0)
	before := runtime.NumGoroutine()
	for range 1000 {
		f.acquire(1000, true)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines; %d before the requests", now, before)
	}
}

func TestKeeperNeedsALocalStore(t *testing.T) {
	t.Parallel()
	if _, err := inflight.NewKeeper(inflight.Config{}); err == nil {
		t.Error("no error")
	}
}

// TestOutcomeUnknown: a call that took places and then failed, because its reply was late, holds none once the store is back. Nor does a
// request whose release failed. The store's clock stands still, so no lease ends by itself.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	refusal := errors.New("refused")
	tests := map[string]func(*fixture){
		"refused by Deny": func(f *fixture) {
			f.remote.late(errAway)
			if _, h, err := f.places.Acquire(t.Context(), []inflight.Ask{{Key: "k", Max: 9}}, func(error) error { return refusal }); !errors.Is(err, refusal) || h != nil {
				t.Errorf("%v, %v", h, err)
			}
		},
		"refused by this process": func(f *fixture) {
			_ = f.local.Renew(t.Context(), inflight.Lease, []inflight.Place{{Key: "k", ID: "another"}})
			f.remote.late(errAway)
			f.acquire(1, false)
		},
		"full in Shadow mode": func(f *fixture) {
			_ = f.local.Renew(t.Context(), inflight.Lease, []inflight.Place{{Key: "k", ID: "another"}})
			f.remote.late(errAway)
			if free, h, err := f.places.Acquire(t.Context(), []inflight.Ask{{Key: "k", Max: 1, Shadow: true}}, allow); free[0] || h != nil || err != nil {
				t.Errorf("%v, %v, %v", free, h, err)
			}
		},
		"a release that fails": func(f *fixture) {
			h := f.acquire(1, true)
			f.remote.set(errAway, nil)
			h.Release(t.Context())
		},
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 300*time.Millisecond)
			f.remote.Store = inflightmemory.New(func() time.Time { return time.Unix(1e9, 0) })
			request(f)
			if n := held(t, f.remote.Store, "k"); n != 1 {
				t.Fatalf("%d places are held at first", n)
			}
			f.remote.set(nil, nil)
			redistest.Eventually(t, "the place to be released", func() bool { return held(t, f.remote.Store, "k") == 0 })
			redistest.Eventually(t, "the store to be unused", func() bool { return f.remote.count(0) == 0 })
		})
	}
}

// TestStoreStaysOpen from the first request that holds a place until the last one ends.
func TestStoreStaysOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0)
	want := func(what string, users int) {
		t.Helper()
		if n := f.remote.count(0); n != users {
			t.Errorf("%s: %d users", what, n)
		}
	}
	first := f.acquire(2, true)
	second := f.acquire(2, true)
	f.acquire(2, false)
	want("two requests", 1)
	first.Release(t.Context())
	first.Release(t.Context())
	want("one request", 1)
	second.Release(t.Context())
	want("none", 0)
	f.acquire(2, true).Release(t.Context())
	want("none again", 0)
}

// TestLeftoversAreBounded: an outage with many requests needs no more memory than that.
func TestLeftoversAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0)
	f.remote.set(errAway, nil)
	refusal := errors.New("refused")
	asks := []inflight.Ask{{Key: "k", Max: 9}, {Key: "l", Max: 9}, {Key: "m", Max: 9}}
	for range inflight.MaxLeftovers {
		_, _, _ = f.places.Acquire(t.Context(), asks, func(error) error { return refusal })
	}
	if n := f.keeper.Leftovers(); n != inflight.MaxLeftovers {
		t.Errorf("%d leftovers; want %d", n, inflight.MaxLeftovers)
	}
}

// TestCloseReleasesLeftovers: a process that ends leaves nothing behind.
func TestCloseReleasesLeftovers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 0)
	h := f.acquire(1, true)
	f.remote.set(errAway, nil)
	h.Release(t.Context())
	f.remote.set(nil, nil)
	f.keeper.Close()
	if n := held(t, f.remote.Store, "k"); n != 0 {
		t.Errorf("%d places are held", n)
	}
}

// TestReleaseDuringRenewalFails: it is tried again. The store's clock stands still.
func TestReleaseDuringRenewalFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 300*time.Millisecond)
	f.remote.Store = inflightmemory.New(func() time.Time { return time.Unix(1e9, 0) })
	h := f.acquire(1, true)
	var once sync.Once
	f.remote.set(nil, func([]inflight.Place) {
		once.Do(func() {
			h.Release(t.Context())
			f.remote.set(errAway, nil)
		})
	})
	redistest.Eventually(t, "the release after the renewal to fail", func() bool { return f.remote.failed() > 0 })
	f.remote.set(nil, nil)
	redistest.Eventually(t, "the place to be released", func() bool { return held(t, f.remote.Store, "k") == 0 })
}
