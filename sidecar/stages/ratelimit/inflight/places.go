package inflight

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Places are the places of one policy. It is safe for concurrent use.
type Places struct {
	keeper *Keeper
	store  Store
	use    func() (done func())
	// users is the number of Holdings and of leftovers. done ends the use of the store. The Keeper's mutex guards them.
	users int
	done  func()
}

// Holding is the places that one request holds. A nil Holding holds none.
type Holding struct {
	of       *Places
	places   []Place
	released atomic.Bool
}

// Acquire takes the places of a request, and says which keys had one (see Store). The caller calls Holding.Release on every path,
// once. If the store is unavailable, it calls unavailable with the cause. An error of unavailable refuses the request and is
// returned unchanged. Otherwise the requests of this process decide. The Keeper then adds the request to the store when that is
// available again. Places that the call took before it failed are released by the Keeper.
func (p *Places) Acquire(ctx context.Context, asks []Ask, unavailable func(cause error) error) ([]bool, *Holding, error) {
	k, id := p.keeper, p.keeper.id()
	free, err := p.store.Acquire(ctx, id, k.lease, asks)
	known := err == nil
	if !known {
		free, err = p.alone(ctx, id, asks, func() error { return unavailable(err) })
	}
	h, others := &Holding{of: p}, []Place(nil)
	h.places, others = split(id, asks, free)
	if !known {
		k.leave(p, others)
	}
	if len(h.places) == 0 {
		return free, nil, err
	}
	k.hold(h)
	if p.store != k.local { // so that the process knows all its requests when the store becomes unavailable
		_ = k.local.Renew(ctx, k.lease, h.places)
	}
	return free, h, nil
}

// alone decides by the requests of this process, unless refuse does.
func (p *Places) alone(ctx context.Context, id string, asks []Ask, refuse func() error) ([]bool, error) {
	if err := refuse(); err != nil {
		return nil, err
	}
	free, err := p.keeper.local.Acquire(ctx, id, p.keeper.lease, asks)
	if err != nil {
		return nil, fmt.Errorf("counting requests in progress: %w", err)
	}
	return free, nil
}

// split returns the places that the request id got, and the others that it asked for. A nil free is that of no decision.
func split(id string, asks []Ask, free []bool) (got, others []Place) {
	refused := free == nil || Refused(asks, free)
	for i, ask := range asks {
		if place := (Place{Key: ask.Key, ID: id}); refused || !free[i] {
			others = append(others, place)
		} else {
			got = append(got, place)
		}
	}
	return got, others
}

// Release ends the places, also if the client has disconnected. If the store is unavailable, the Keeper releases them when it is back,
// or else they end with their lease.
func (h *Holding) Release(ctx context.Context) {
	if h == nil || !h.released.CompareAndSwap(false, true) {
		return
	}
	ctx, k := context.WithoutCancel(ctx), h.of.keeper
	_ = k.local.Release(ctx, h.places)
	if h.of.store != k.local && h.of.store.Release(ctx, h.places) != nil {
		k.leave(h.of, h.places)
	}
	k.drop(h)
}

// renew renews the places of some requests. A request that ends at the same time may release its places before they are renewed, so
// they are released again.
func (p *Places) renew(ctx context.Context, some []*Holding) error {
	k, places := p.keeper, placesOf(some)
	err := p.store.Renew(ctx, k.lease, places)
	if p.store != k.local {
		_ = k.local.Renew(ctx, k.lease, places)
	}
	var ended []*Holding
	for _, h := range some {
		if h.released.Load() {
			ended = append(ended, h)
		}
	}
	if again := placesOf(ended); len(again) > 0 {
		_ = k.local.Release(ctx, again)
		if p.store.Release(ctx, again) != nil {
			k.leave(p, again)
		}
	}
	return err
}

func placesOf(some []*Holding) (places []Place) {
	for _, h := range some {
		places = append(places, h.places...)
	}
	return places
}
