package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxEntries bounds an index where Config names no bound; an entry takes about 70 bytes.
	DefaultMaxEntries = 1 << 18
	// DefaultMaxStaleness is how old an index may be.
	DefaultMaxStaleness = 5 * time.Second
	// retryFirst and retryMost are the pauses before the feed is tried again.
	retryFirst, retryMost = 20 * time.Millisecond, time.Second
	// recountEvery is the pause between two looks whether an index that overflowed has room again.
	recountEvery = 30 * time.Second
)

// IndexConfig describes an Index.
type IndexConfig struct {
	Feed Feed
	// MaxEntries bounds the memory. Beyond it nothing is forgotten: what the index does not hold is asked for in the store,
	// at the cost of a round trip for each request.
	MaxEntries int
	// MaxStaleness is the one that the stages are given; the feed is asked to be much fresher. DefaultMaxStaleness if 0.
	MaxStaleness time.Duration
	// Before is an index that this one takes the place of, if there is one: what that knows to be revoked stays so, also until
	// this one is complete.
	Before *Index
	// Metrics, if any, show the index.
	Metrics *Metrics
	Log     *slog.Logger
	// Now is time.Now if nil.
	Now func() time.Time
}

// Index knows in this process which tokens are revoked. A goroutine of its own keeps it up to date. It is safe for
// concurrent use. What it once knew to be revoked stays so, whatever becomes of the store, until the token has expired.
type Index struct {
	config IndexConfig
	table  *table
	// fresh is the time, in nanoseconds since start, at which nothing was missing; negative before the first load.
	fresh  atomic.Int64
	start  time.Time
	cursor atomic.Pointer[Cursor]
	ready  chan struct{}
	stop   context.CancelFunc
	wg     sync.WaitGroup
	// counted is when the store was last asked for its size; the feed's goroutine alone uses it.
	counted time.Time

	mu sync.Mutex
	// maxSilence is the feed's, and interrupt ends the following that is under way; nil where there is none.
	maxSilence time.Duration
	interrupt  context.CancelFunc
}

// NewIndex starts to load the index.
func NewIndex(c IndexConfig) (*Index, error) {
	if c.Feed == nil || c.Log == nil {
		return nil, errors.New("building revocation index: a feed and a logger are needed")
	}
	if c.MaxEntries < 0 || c.MaxStaleness < 0 {
		return nil, fmt.Errorf("building revocation index: %d entries, staleness %s: a bound is negative", c.MaxEntries, c.MaxStaleness)
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = DefaultMaxEntries
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = DefaultMaxStaleness
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, stop := context.WithCancel(context.Background())
	x := &Index{config: c, table: newTable(c.MaxEntries), start: c.Now(), ready: make(chan struct{}), stop: stop, maxSilence: c.MaxStaleness}
	x.fresh.Store(-1)
	x.cursor.Store(&Cursor{})
	if c.Before != nil {
		x.table.inherit(c.Before.table)
		x.config.Before = nil // or all that ever were would stay in memory
	}
	c.Metrics.add(x)
	x.wg.Go(func() { x.run(ctx) })
	return x, nil
}

// Ready is closed once the index is complete for the first time.
func (x *Index) Ready() <-chan struct{} { return x.ready }

// Hasten has the index keep to a shorter MaxStaleness than it was made for; a longer one changes nothing. What it knows
// stays known.
func (x *Index) Hasten(maxStaleness time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if maxStaleness <= 0 || maxStaleness >= x.maxSilence {
		return
	}
	x.maxSilence = maxStaleness
	if x.interrupt != nil {
		x.interrupt()
	}
}

// Age is for how long something may have been missed; the longest duration before the index is complete for the first time.
func (x *Index) Age() time.Duration {
	fresh := x.fresh.Load()
	if fresh < 0 {
		return math.MaxInt64
	}
	return max(0, x.config.Now().Sub(x.start)-time.Duration(fresh))
}

// Applied is up to where the store's history is known here.
func (x *Index) Applied() Position { return x.cursor.Load().Position }

// Len is the number of entries held in memory, and whether there are others for which there is no room.
func (x *Index) Len() (n int, overflow bool) {
	return int(x.table.count.Load()), x.table.overflow.Load()
}

// Revoked reports whether a token is revoked, as far as the index knows at its Age. The error says that the store, which
// had to be asked for want of room, did not answer.
func (x *Index) Revoked(ctx context.Context, q *Query) (bool, error) {
	if x.table.revoked(q, x.config.Now) {
		return true, nil
	}
	if !x.table.overflow.Load() {
		return false, nil
	}
	return x.ask(ctx, q, x.config.Now())
}

func (x *Index) ask(ctx context.Context, q *Query, now time.Time) (bool, error) {
	x.config.Metrics.asked()
	found, err := x.config.Feed.Find(ctx, q.entries())
	if err != nil {
		return false, fmt.Errorf("looking up revocation: %w", err)
	}
	for _, e := range found {
		if q.revokedBy(e, now) {
			return true, nil
		}
	}
	return false, nil
}

// Close stops the index; it is then of the age that it has. It takes as long as the feed's last wait.
func (x *Index) Close() {
	x.stop()
	x.config.Metrics.remove(x)
	x.wg.Wait()
}

// Apply implements Sink.
func (x *Index) Apply(c Cursor, entries []Entry) {
	x.table.add(entries, x.config.Now())
	x.cursor.Store(&c)
}

// Fresh implements Sink.
func (x *Index) Fresh(ctx context.Context, at time.Time) error {
	now := x.config.Now()
	x.fresh.Store(max(0, int64(at.Sub(x.start))))
	x.table.sweep(now)
	if !x.table.overflow.Load() || now.Sub(x.counted) < recountEvery {
		return nil
	}
	x.counted = now
	n, err := x.config.Feed.Count(ctx)
	if err == nil && n <= x.config.MaxEntries/10*9 {
		return errRoom
	}
	return err
}
