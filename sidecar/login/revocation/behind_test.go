package revocation_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
)

// flaky is a feed that can be unavailable, or not known to be current.
type flaky struct {
	*revocationmemory.Store
	mu     sync.Mutex
	broken error
	doubt  error
	stop   context.CancelFunc
}

func (f *flaky) set(broken, doubt error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken, f.doubt = broken, doubt
	if f.stop != nil {
		f.stop()
	}
}

func (f *flaky) Load(ctx context.Context, apply func([]revocation.Entry)) (revocation.Cursor, error) {
	f.mu.Lock()
	broken, doubt := f.broken, f.doubt
	f.mu.Unlock()
	if broken != nil {
		return revocation.Cursor{}, broken
	}
	c, err := f.Store.Load(ctx, apply)
	if err == nil && doubt != nil {
		err = errors.Join(revocation.ErrUnproven, doubt)
	}
	return c, err
}

func (f *flaky) Follow(ctx context.Context, from revocation.Cursor, maxSilence time.Duration, sink revocation.Sink) error {
	f.mu.Lock()
	ctx, f.stop = context.WithCancel(ctx)
	broken, doubt := f.broken, f.doubt
	f.mu.Unlock()
	if broken != nil {
		return broken
	}
	if doubt != nil {
		sink = doubting{sink, doubt}
	}
	return f.Store.Follow(ctx, from, maxSilence, sink)
}

type doubting struct {
	revocation.Sink
	doubt error
}

func (d doubting) Fresh(context.Context, time.Time) error { return d.Doubt(d.doubt) }

// TestNoWritesBeforeTheIndexHasCaughtUp: a revocation is acknowledged only if every sidecar has had time to catch up.
func TestNoWritesBeforeTheIndexHasCaughtUp(t *testing.T) {
	t.Parallel()
	outage := errors.New("redis is unavailable")
	tests := map[string]struct{ broken, doubt error }{
		"the store was unavailable":             {broken: outage},
		"the store was not known to be current": {doubt: outage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var later atomic.Int64 // the clock is ahead by this
			now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			feed := &flaky{Store: revocationmemory.New(revocationmemory.Config{Now: now})}
			x := newIndex(t, revocation.IndexConfig{Feed: feed, MaxStaleness: time.Second, Now: now})
			<-x.Ready()
			writes := revocation.WriteThrough{Store: feed, Index: x}
			write := func(jti string) error { _, err := writes.Add(t.Context(), entry(revocation.Token, jti)); return err }
			if err := write("before"); err != nil {
				t.Fatal(err)
			}
			feed.set(tt.broken, tt.doubt)
			eventually(t, "the index to know", func() bool { return errors.Is(write("during"), revocation.ErrBehind) })
			n, _ := feed.Count(t.Context())
			if err := write("refused"); !errors.Is(err, revocation.ErrBehind) {
				t.Errorf("during the outage: %v", err)
			}
			if after, _ := feed.Count(t.Context()); after != n {
				t.Error("a refused revocation was stored")
			}
			later.Add(int64(10 * time.Minute)) // the index has everything as of long ago
			feed.set(nil, nil)
			eventually(t, "the index to be fresh", func() bool { return x.Age() < time.Minute })
			later.Add(-int64(10 * time.Second)) // a time within the pause
			if err := write("too early"); !errors.Is(err, revocation.ErrBehind) {
				t.Errorf("as soon as the store is back: %v", err)
			}
			later.Add(int64(time.Minute))
			eventually(t, "writes to be taken", func() bool { return write("after") == nil })
			if revoked, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: "after"}); !revoked || err != nil {
				t.Errorf("the sidecar that acknowledged it: revoked %t, %v", revoked, err)
			}
		})
	}
}

// TestUnprovenContentIsKnown: what a store holds is refused, although the index does not count as fresh.
func TestUnprovenContentIsKnown(t *testing.T) {
	t.Parallel()
	feed := &flaky{Store: revocationmemory.New(revocationmemory.Config{}), doubt: errors.New("NOREPLICAS")}
	if _, err := feed.Add(t.Context(), entry(revocation.Token, "t1")); err != nil {
		t.Fatal(err)
	}
	x := newIndex(t, revocation.IndexConfig{Feed: feed, MaxStaleness: time.Second})
	revoked := func(jti string) bool {
		yes, err := x.Revoked(t.Context(), &revocation.Query{Issuer: issuer, TokenID: jti})
		return yes && err == nil
	}
	eventually(t, "the content to be loaded", func() bool { return revoked("t1") })
	if _, err := feed.Add(t.Context(), entry(revocation.Token, "t2")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a change to be applied", func() bool { return revoked("t2") })
	select {
	case <-x.Ready():
		t.Error("the index is ready")
	default:
	}
	if x.Age() < time.Hour {
		t.Errorf("the age is %s", x.Age())
	}
	feed.set(nil, nil)
	eventually(t, "the index to be fresh", func() bool { return x.Age() < time.Second })
}
