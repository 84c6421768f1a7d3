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
	// DefaultMaxEntries is the default of IndexConfig.MaxEntries. An entry takes about 70 bytes.
	DefaultMaxEntries = 1 << 18
	// DefaultMaxStaleness is the default of MaxStaleness.
	DefaultMaxStaleness = 5 * time.Second
	// retryFirst and retryMost are the first and the longest pause between attempts to read the feed.
	retryFirst, retryMost = 20 * time.Millisecond, 250 * time.Millisecond
	// settleFor is how long a sidecar takes no revocations after it has caught up again. All sidecars find a store that is back, and
	// catch up, within this time. A revocation is then known everywhere at once, and not only at those that were faster.
	settleFor = time.Second
	// recountEvery is the pause between checks whether an index that overflowed has room again.
	recountEvery = 30 * time.Second
)

// IndexConfig configures an Index. Feed and Log are required.
type IndexConfig struct {
	Feed Feed
	// MaxEntries bounds the memory. Above it no revocation is lost: entries that the index does not hold are looked up in the
	// store, with a round trip for each request.
	MaxEntries int
	// MaxStaleness is that of the stages; the feed is asked to be much fresher. It defaults to DefaultMaxStaleness.
	MaxStaleness time.Duration
	// InProcess says that the feed is in this process, and that all its writers use WriteThrough. An index that is ready then
	// misses nothing, and its age is 0.
	InProcess bool
	// Before is the index that this one replaces; may be nil. Its entries are kept, also before this index is complete.
	Before *Index
	// Metrics show the index; may be nil.
	Metrics *Metrics
	Log     *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

// Index is the in-memory index of revoked tokens. Its own goroutine keeps it up to date. It is safe for concurrent use. An entry
// stays until its token has expired, even if the store loses it.
type Index struct {
	config IndexConfig
	table  *table
	// fresh is the latest time, in nanoseconds since start, at which the index was complete; negative before the first load.
	fresh  atomic.Int64
	start  time.Time
	cursor atomic.Pointer[Cursor]
	ready  chan struct{}
	// writable is the time, in nanoseconds since start, from which WriteThrough takes revocations; negative while the index is behind.
	writable atomic.Int64
	// doubted says that the store is not known to be current.
	doubted atomic.Bool
	// lost says that the store was unavailable since the index last had everything. Only the feed's goroutine uses it.
	lost bool
	stop context.CancelFunc
	wg   sync.WaitGroup
	// counted is when the size of the store was last read. Only the feed's goroutine uses it.
	counted time.Time

	mu sync.Mutex
	// maxSilence is passed to the feed. interrupt ends the current Follow; nil if there is none.
	maxSilence time.Duration
	interrupt  context.CancelFunc
}

// NewIndex returns an Index and starts loading it. The caller calls Close.
func NewIndex(c IndexConfig) (*Index, error) {
	if c.Feed == nil || c.Log == nil {
		return nil, errors.New("building revocation index: Feed and Log are required")
	}
	if c.MaxEntries < 0 || c.MaxStaleness < 0 {
		return nil, fmt.Errorf("building revocation index: maxEntries %d or maxStaleness %s is negative", c.MaxEntries, c.MaxStaleness)
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
	x.writable.Store(-1)
	x.cursor.Store(&Cursor{})
	if c.Before != nil {
		x.table.inherit(c.Before.table)
		x.config.Before = nil // or all earlier indexes would stay in memory
	}
	c.Metrics.add(x)
	x.wg.Go(func() { x.run(ctx) })
	return x, nil
}

// Ready is closed once the index is complete for the first time.
func (x *Index) Ready() <-chan struct{} { return x.ready }

// LowerMaxStaleness sets a shorter MaxStaleness. A longer one has no effect. The index keeps its entries.
func (x *Index) LowerMaxStaleness(maxStaleness time.Duration) {
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

// Age is how long revocations may have been missed. It is the longest duration until the first load is complete.
func (x *Index) Age() time.Duration {
	fresh := x.fresh.Load()
	if fresh < 0 {
		return math.MaxInt64
	}
	if x.config.InProcess {
		return 0
	}
	return max(0, x.config.Now().Sub(x.start)-time.Duration(fresh))
}

// Applied is the position in the store's history up to which the index is complete.
func (x *Index) Applied() Position { return x.cursor.Load().Position }

// Len returns the number of entries in memory, and whether the index overflowed.
func (x *Index) Len() (n int, overflow bool) {
	return int(x.table.count.Load()), x.table.overflow.Load()
}

// Revoked reports whether a token is revoked, as of the Age of the index. It fails only if the index has overflowed and the store
// is unavailable.
func (x *Index) Revoked(ctx context.Context, q *Query) (bool, error) {
	if x.table.revoked(q, x.config.Now) {
		return true, nil
	}
	if !x.table.overflow.Load() {
		return false, nil
	}
	return x.ask(ctx, q, x.config.Now())
}

// Find returns those of the entries that the store holds, as Feed.Find does.
func (x *Index) Find(ctx context.Context, entries []Entry) ([]Entry, error) {
	return x.config.Feed.Find(ctx, entries)
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

// Close stops the index, which keeps its entries. It waits for the feed to end.
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
	x.confirm(at)
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

// Doubt implements Sink. The index ages, although changes still arrive.
func (x *Index) Doubt(cause error) error {
	x.fallBehind()
	if !x.doubted.Swap(true) {
		x.config.Log.Warn("the revocations may not be current, because the store does not prove that it is the master", "error", cause)
	}
	return nil
}

// fallBehind records that the index may miss revocations, because of its store.
func (x *Index) fallBehind() { x.lost = true; x.writable.Store(-1) }

// catchUp records that the index has everything.
func (x *Index) catchUp() {
	if x.writable.Load() >= 0 {
		return
	}
	at := x.config.Now().Sub(x.start)
	if x.lost {
		at += settleFor
	}
	x.lost = false
	x.writable.Store(int64(max(0, at)))
}

// takesWrites reports whether the index has had everything for long enough.
func (x *Index) takesWrites() bool {
	from := x.writable.Load()
	return from >= 0 && x.config.Now().Sub(x.start) >= time.Duration(from)
}

// WriteThrough is a Store that also updates the sidecar's own Index. A sidecar then refuses a token as soon as it has responded
// that the token is revoked. Other sidecars get the revocation from the store's feed, as does this one a little later.
type WriteThrough struct {
	Store Store
	Index *Index
}

// ErrBehind reports that the index has not caught up with its store after an outage. Nothing was revoked.
var ErrBehind = errors.New("the revocation index has not caught up with the store")

// Add implements Store. It fails with ErrBehind until some time after an outage: otherwise a revocation could be acknowledged
// while other sidecars still accept the token. If the store fails, the index is not updated either, and the caller gets the error.
func (w WriteThrough) Add(ctx context.Context, entries ...Entry) (Position, error) {
	if !w.Index.takesWrites() {
		return Position{}, ErrBehind
	}
	p, err := w.Store.Add(ctx, entries...)
	if err == nil {
		w.Index.table.add(entries, w.Index.config.Now())
	}
	return p, err
}
