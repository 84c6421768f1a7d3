package inflight

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// batch is the number of requests in one call of a store by the Keeper, so that a script takes well below a millisecond.
const batch = 128

// Config configures a Keeper.
type Config struct {
	// Local counts the requests of this process, and decides while another store is unavailable.
	Local Store
	// Lease is how long a place is held without being renewed; the constant Lease if zero. Places are renewed three times as often.
	Lease   time.Duration
	Metrics *Metrics
	Logger  *slog.Logger
}

// Keeper renews the places of all requests of a process, in one goroutine. It needs about 300 bytes for each request in progress that
// holds a place. It is safe for concurrent use.
type Keeper struct {
	local   Store
	lease   time.Duration
	metrics *Metrics
	logger  *slog.Logger
	// process and made are the parts of the ids of requests. The process's is random.
	process string
	made    atomic.Uint64

	mu   sync.Mutex
	held map[*Holding]struct{}
	left leftovers

	failing bool
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// NewKeeper starts a Keeper. The caller calls Close.
func NewKeeper(c Config) (*Keeper, error) {
	if c.Local == nil {
		return nil, errors.New("keeping places: Local is required")
	}
	var random [12]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("naming the process: %w", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	k := &Keeper{
		local: c.Local, lease: cmp.Or(c.Lease, Lease), metrics: c.Metrics, logger: c.Logger, stop: stop,
		process: base64.RawURLEncoding.EncodeToString(random[:]) + ".", held: map[*Holding]struct{}{},
	}
	k.ended.Go(func() { k.run(ctx) })
	return k, nil
}

// Close ends the renewals, and releases the places of requests that have not ended, as far as their stores are available.
func (k *Keeper) Close() {
	k.stop()
	k.ended.Wait()
	k.sweep(context.Background())
	for p, all := range k.all() {
		for some := range slices.Chunk(all, batch) {
			_ = p.store.Release(context.Background(), placesOf(some)) // the lease ends anyway
		}
	}
}

// Places returns the places of one policy in store. The keys of one Places must share a hash tag. While requests hold places, or places
// are still to be released, the store must stay open: use is called when the first one begins, and the function that it returns after the
// last one. They must not block, and use may return nil. A nil use means that the store is never closed.
func (k *Keeper) Places(store Store, use func() (done func())) *Places {
	return &Places{keeper: k, store: store, use: use}
}

func (k *Keeper) run(ctx context.Context) {
	tick := time.NewTicker(k.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.renew(ctx)
			k.sweep(ctx)
		}
	}
}

// renew renews all places. A store that was unavailable, or lost its data, gets the places that it does not have.
func (k *Keeper) renew(ctx context.Context) {
	failed, cause := 0, error(nil)
	for p, all := range k.all() {
		for some := range slices.Chunk(all, batch) {
			if ctx.Err() != nil {
				return
			}
			if err := p.renew(ctx, some); err != nil {
				failed, cause = failed+len(some), err
			}
		}
	}
	k.metrics.fail(failed)
	if failed > 0 && !k.failing {
		k.logger.Warn("requests in progress could not be renewed in the shared store; other pods stop counting them when their lease ends", "requests", failed, "error", cause)
	}
	k.failing = failed > 0
}

// all returns the requests that hold places, by the Places that they have them from.
func (k *Keeper) all() map[*Places][]*Holding {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[*Places][]*Holding{}
	for h := range k.held {
		all[h.of] = append(all[h.of], h)
	}
	return all
}

func (k *Keeper) id() string { return k.process + strconv.FormatUint(k.made.Add(1), 36) }
