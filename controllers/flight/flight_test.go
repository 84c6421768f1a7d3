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

// TestOverlap checks that a caller waits for a run of its own alone as long as there is room, that the runs of a key in progress are
// bounded, and that the pace holds for those that overlap.
func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length, pace = time.Second, 100 * time.Millisecond
		g := New[string, time.Duration](Config{Slots: 8, Overlap: 3, Timeout: time.Minute, Pace: pace})
		begun := time.Now()
		var running, most atomic.Int64
		do := func(context.Context) (time.Duration, error) {
			start := time.Since(begun)
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(length)
			running.Add(-1)
			return start, nil
		}
		var wg sync.WaitGroup
		// When each of them calls, and when its run starts: the pace delays the second, and the room of three the fifth and later.
		for _, caller := range []struct{ at, want time.Duration }{
			{0, 0}, {10 * time.Millisecond, pace}, {50 * time.Millisecond, pace}, {150 * time.Millisecond, 2 * pace},
			{300 * time.Millisecond, length}, {900 * time.Millisecond, length}, {1050 * time.Millisecond, length + pace},
		} {
			wg.Go(func() {
				time.Sleep(caller.at)
				if got, err := g.Do(t.Context(), "k", do); err != nil || got != caller.want {
					t.Errorf("who calls at %s shares a run of %s, %v, want %s", caller.at, got, err, caller.want)
				}
			})
		}
		wg.Wait()
		if most.Load() != 3 {
			t.Errorf("%d runs at once, want 3", most.Load())
		}
		time.Sleep(pace)
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.lanes) != 0 {
			t.Errorf("%d lanes are left", len(g.lanes))
		}
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
