package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestResultsAreNewer checks that no caller gets the result of a run that started before its call, and that callers who come during a
// run share the next one.
func TestResultsAreNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[string, int64](Config{Slots: 1, Timeout: time.Minute})
		var runs atomic.Int64
		do := func(context.Context) (int64, error) {
			n := runs.Add(1)
			time.Sleep(time.Second)
			return n, nil
		}
		var wg sync.WaitGroup
		call := func(want int64) {
			wg.Go(func() {
				if got, err := g.Do(t.Context(), "k", do); err != nil || got != want {
					t.Errorf("got run %d, %v, want run %d", got, err, want)
				}
			})
		}
		call(1)
		synctest.Wait()
		for range 100 {
			call(2)
		}
		wg.Wait()
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.lanes) != 0 || runs.Load() != 2 {
			t.Errorf("%d lanes are left after %d runs", len(g.lanes), runs.Load())
		}
	})
}

func TestSlotsAndPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int, time.Time](Config{Slots: 2, Timeout: time.Minute, Pace: time.Second})
		var running, most atomic.Int64
		do := func(context.Context) (time.Time, error) {
			start := time.Now()
			n := running.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(10 * time.Millisecond)
			running.Add(-1)
			return start, nil
		}
		var wg sync.WaitGroup
		for key := range 20 {
			wg.Go(func() {
				first, _ := g.Do(t.Context(), key, do)
				second, err := g.Do(t.Context(), key, do)
				if err != nil || second.Sub(first) < time.Second-10*time.Millisecond*20 {
					t.Errorf("%v after %v, %v", second, first, err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 2 {
			t.Errorf("%d runs at once, want 2", most.Load())
		}
		time.Sleep(2 * time.Second)
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[string, int](Config{Slots: 1, Timeout: time.Second})
		broken := errors.New("no connection")
		if _, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 0, broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		if _, err := g.Do(ctx, "k", hang); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller has gone: %v", err)
		}
		if _, err := g.Do(t.Context(), "other", hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no slot or no end in time: %v", err)
		}
	})
}
