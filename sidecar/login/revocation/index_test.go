package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
)

const issuer = "https://issuer.example"

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func newIndex(t testing.TB, c revocation.IndexConfig) *revocation.Index {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	x, err := revocation.NewIndex(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

func entry(kind revocation.Kind, value string) revocation.Entry {
	e := revocation.Entry{Kind: kind, Issuer: issuer, Value: value, Expires: time.Now().Add(time.Hour)}
	if kind == revocation.Subject {
		e.Before = time.Now()
	}
	return e
}

func add(t testing.TB, s revocation.Store, x *revocation.Index, entries ...revocation.Entry) {
	t.Helper()
	p, err := s.Add(context.Background(), entries...)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !x.Applied().Covers(p); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the index is at %v; want %v", x.Applied(), p)
		}
	}
}

func TestRevoked(t *testing.T) {
	store := revocationmemory.New(revocationmemory.Config{})
	x := newIndex(t, revocation.IndexConfig{Feed: store})
	<-x.Ready()
	now := time.Now()
	since := entry(revocation.Subject, "ada")
	since.Before = now
	brief := entry(revocation.Token, "brief")
	brief.Expires = now.Add(-time.Second)
	add(t, store, x, entry(revocation.Token, "t1"), entry(revocation.Session, "s1"), entry(revocation.Key, "k1"), since, brief)
	tests := map[string]struct {
		query revocation.Query
		want  bool
	}{
		"empty query":                      {query: revocation.Query{}},
		"another token":                    {query: revocation.Query{TokenID: "t2", Session: "s2", KeyID: "k2", Subject: "bob", IssuedAt: now}},
		"the token":                        {query: revocation.Query{TokenID: "t1"}, want: true},
		"its session":                      {query: revocation.Query{TokenID: "t2", Session: "s1"}, want: true},
		"its key":                          {query: revocation.Query{KeyID: "k1"}, want: true},
		"the subject, issued before":       {query: revocation.Query{Subject: "ada", IssuedAt: now.Add(-time.Second)}, want: true},
		"the subject, without a time":      {query: revocation.Query{Subject: "ada"}, want: true},
		"the subject, issued at that time": {query: revocation.Query{Subject: "ada", IssuedAt: now}},
		"values of other kinds":            {query: revocation.Query{TokenID: "s1", Session: "k1", KeyID: "ada", Subject: "t1"}},
		"an expired entry":                 {query: revocation.Query{TokenID: "brief"}},
		"another issuer's":                 {query: revocation.Query{Issuer: "https://other.example", TokenID: "t1", Session: "s1", KeyID: "k1", Subject: "ada"}},
		"issuer and value run together":    {query: revocation.Query{Issuer: "https://issuer.examplet", TokenID: "1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.query.Issuer == "" {
				tt.query.Issuer = issuer
			}
			got, err := x.Revoked(t.Context(), &tt.query)
			if got != tt.want || err != nil {
				t.Errorf("Revoked = %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// silences is a feed that records what Follow is asked for.
type silences struct {
	*revocationmemory.Store
	asked chan time.Duration
}

func (s silences) Follow(ctx context.Context, from revocation.Cursor, maxSilence time.Duration, sink revocation.Sink) error {
	s.asked <- maxSilence
	return s.Store.Follow(ctx, from, maxSilence, sink)
}

// TestLowerMaxStaleness: an index with a long staleness asks its feed for a shorter one as soon as that is set, and keeps its entries.
func TestLowerMaxStaleness(t *testing.T) {
	store := revocationmemory.New(revocationmemory.Config{})
	feed := silences{store, make(chan time.Duration, 100)}
	x := newIndex(t, revocation.IndexConfig{Feed: feed, MaxStaleness: time.Hour})
	<-x.Ready()
	add(t, store, x, entry(revocation.Token, "t1"))
	x.LowerMaxStaleness(2 * time.Hour)
	x.LowerMaxStaleness(time.Minute)
	x.LowerMaxStaleness(0)
	for _, want := range []time.Duration{time.Hour, time.Minute} {
		if got := <-feed.asked; got != want {
			t.Errorf("the feed was asked for %s; want %s", got, want)
		}
	}
	if got, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "t1"}); !got || err != nil {
		t.Errorf("Revoked = %v, %v", got, err)
	}
	add(t, store, x, entry(revocation.Token, "t2"))
	if len(feed.asked) > 0 {
		t.Errorf("the feed was asked for %s", <-feed.asked)
	}
}

// never is a feed whose Load never returns.
type never struct{ revocation.Feed }

func (never) Load(ctx context.Context, _ func([]revocation.Entry)) (revocation.Cursor, error) {
	<-ctx.Done()
	return revocation.Cursor{}, ctx.Err()
}

// TestBefore: an index that replaces another one has its entries. Its age says that it may be out of date.
func TestBefore(t *testing.T) {
	store := revocationmemory.New(revocationmemory.Config{})
	first := newIndex(t, revocation.IndexConfig{Feed: store})
	<-first.Ready()
	add(t, store, first, entry(revocation.Token, "t1"), entry(revocation.Subject, "ada"))
	next := newIndex(t, revocation.IndexConfig{Feed: never{}, Before: first})
	for name, q := range map[string]revocation.Query{"a token": {TokenID: "t1"}, "a subject": {Subject: "ada"}} {
		q.Issuer = issuer
		if got, err := next.Revoked(t.Context(), &q); !got || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := next.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "t2"}); got || err != nil {
		t.Errorf("another token: %v, %v", got, err)
	}
	if next.Age() < time.Hour {
		t.Errorf("age %s although nothing was loaded", next.Age())
	}
	add(t, store, first, entry(revocation.Token, "t3"))
	if n, _ := next.Len(); n != 2 {
		t.Errorf("%d entries; want 2, independent of the index before", n)
	}
}

// TestBeyondTheBound: lookups are exact although the index does not hold all entries.
func TestBeyondTheBound(t *testing.T) {
	store := revocationmemory.New(revocationmemory.Config{})
	metrics, err := revocation.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	x := newIndex(t, revocation.IndexConfig{Feed: store, MaxEntries: 10, Metrics: metrics})
	<-x.Ready()
	for i := range 50 {
		add(t, store, x, entry(revocation.Token, fmt.Sprint(i)))
	}
	if n, overflow := x.Len(); n != 10 || !overflow {
		t.Errorf("%d entries, overflow %v", n, overflow)
	}
	for i := range 60 {
		got, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: fmt.Sprint(i)})
		if got != (i < 50) || err != nil {
			t.Errorf("token %d: %v, %v", i, got, err)
		}
	}
	again := newIndex(t, revocation.IndexConfig{Feed: store, MaxEntries: 10})
	<-again.Ready()
	if got, err := again.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "49"}); !got || err != nil {
		t.Errorf("an index that is full after its first load: %v, %v", got, err)
	}
}

// feed is a store that fails on demand.
type feed struct {
	*revocationmemory.Store
	mu   sync.Mutex
	fail error
}

func (f *feed) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

func (f *feed) Load(ctx context.Context, apply func([]revocation.Entry)) (revocation.Cursor, error) {
	if err := f.err(); err != nil {
		return revocation.Cursor{}, err
	}
	return f.Store.Load(ctx, apply)
}

// sink makes Follow end once the feed fails.
type sink struct {
	revocation.Sink
	feed *feed
}

func (s sink) Fresh(ctx context.Context, at time.Time) error {
	if err := s.feed.err(); err != nil {
		return err
	}
	return s.Sink.Fresh(ctx, at)
}

func (f *feed) Follow(ctx context.Context, from revocation.Cursor, maxSilence time.Duration, to revocation.Sink) error {
	return f.Store.Follow(ctx, from, maxSilence, sink{to, f})
}

func (f *feed) Find(ctx context.Context, entries []revocation.Entry) ([]revocation.Entry, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.Find(ctx, entries)
}

func TestAge(t *testing.T) {
	unavailable := errors.New("unavailable")
	f := &feed{Store: revocationmemory.New(revocationmemory.Config{}), fail: unavailable}
	registry := prometheus.NewRegistry()
	metrics, err := revocation.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	x := newIndex(t, revocation.IndexConfig{Feed: f, Metrics: metrics, MaxEntries: 1, MaxStaleness: 40 * time.Millisecond})
	const never = `# HELP postern_revocation_index_age_seconds How long revocations may have been missed; +Inf before the first load.
# TYPE postern_revocation_index_age_seconds gauge
postern_revocation_index_age_seconds +Inf
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(never), "postern_revocation_index_age_seconds"); err != nil {
		t.Error(err)
	}
	if x.Age() < time.Hour {
		t.Errorf("age %s of an index that was never loaded", x.Age())
	}
	f.set(nil)
	<-x.Ready()
	add(t, f.Store, x, entry(revocation.Token, "1"))
	add(t, f.Store, x, entry(revocation.Token, "2"))
	f.set(unavailable)
	eventually(t, "the index to be stale", func() bool { return x.Age() > 100*time.Millisecond })
	if _, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "2"}); !errors.Is(err, unavailable) {
		t.Errorf("not in memory, store unavailable: %v", err)
	}
	if got, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "1"}); !got || err != nil {
		t.Errorf("in memory, store unavailable: %v, %v", got, err)
	}
	f.set(nil)
	eventually(t, "the index to be fresh", func() bool { return x.Age() < 60*time.Millisecond })
}

func TestNewIndexRefuses(t *testing.T) {
	store, log := revocationmemory.New(revocationmemory.Config{}), slog.New(slog.DiscardHandler)
	tests := map[string]revocation.IndexConfig{
		"no feed":            {Log: log},
		"no log":             {Feed: store},
		"a negative bound":   {Feed: store, Log: log, MaxEntries: -1},
		"negative staleness": {Feed: store, Log: log, MaxStaleness: -1},
	}
	for name, c := range tests {
		if x, err := revocation.NewIndex(c); err == nil {
			x.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConcurrentLookups(t *testing.T) {
	store := revocationmemory.New(revocationmemory.Config{})
	x := newIndex(t, revocation.IndexConfig{Feed: store})
	<-x.Ready()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				jti := fmt.Sprint(i, j)
				add(t, store, x, entry(revocation.Token, jti))
				if got, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: jti}); !got || err != nil {
					t.Errorf("token %s: %v, %v", jti, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		store := revocationmemory.New(revocationmemory.Config{MaxEntries: 100_000})
		var entries []revocation.Entry
		for i := range n {
			entries = append(entries, entry(revocation.Token, fmt.Sprint("token-", i)))
		}
		if _, err := store.Add(b.Context(), entries...); err != nil {
			b.Fatal(err)
		}
		x := newIndex(b, revocation.IndexConfig{Feed: store})
		<-x.Ready()
		if got, overflow := x.Len(); got != n || overflow {
			b.Fatalf("%d entries, overflow %v; want %d", got, overflow, n)
		}
		q := &revocation.Query{
			Issuer: issuer, TokenID: "0b5bd1a7-c7d7-4b1c-a5b0-5f1d2bb1f3a4", Session: "pVnCNdcHXZ5FV1Zcy1Yz5A", Subject: "user-42", KeyID: "2026-11", IssuedAt: time.Now(),
		}
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if got, _ := x.Revoked(b.Context(), q); got {
						b.Error("revoked")
					}
				}
			})
		})
	}
}
