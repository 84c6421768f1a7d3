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
// available again.
func (p *Places) Acquire(ctx context.Context, asks []Ask, unavailable func(cause error) error) ([]bool, *Holding, error) {
	k, id := p.keeper, p.keeper.id()
	by := p.store
	free, err := by.Acquire(ctx, id, k.lease, asks)
	if err != nil {
		if err := unavailable(err); err != nil {
			return nil, nil, err
		}
		by = k.local
		if free, err = by.Acquire(ctx, id, k.lease, asks); err != nil {
			return nil, nil, fmt.Errorf("counting requests in progress: %w", err)
		}
	}
	if Refused(asks, free) {
		return free, nil, nil
	}
	h := &Holding{of: p}
	for i, ask := range asks {
		if free[i] {
			h.places = append(h.places, Place{Key: ask.Key, ID: id})
		}
	}
	if len(h.places) == 0 {
		return free, nil, nil
	}
	k.mu.Lock()
	k.held[h] = struct{}{}
	k.mu.Unlock()
	if by != k.local { // so that the process knows all its requests when the store becomes unavailable
		_ = k.local.Renew(ctx, k.lease, h.places)
	}
	return free, h, nil
}

// Release ends the places, also if the client has disconnected. If the store is unavailable, they end with their lease.
func (h *Holding) Release(ctx context.Context) {
	if h == nil || !h.released.CompareAndSwap(false, true) {
		return
	}
	ctx, k := context.WithoutCancel(ctx), h.of.keeper
	k.mu.Lock()
	delete(k.held, h)
	k.mu.Unlock()
	_ = k.local.Release(ctx, h.places)
	if h.of.store != k.local {
		_ = h.of.store.Release(ctx, h.places)
	}
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
		_ = p.store.Release(ctx, again)
	}
	return err
}

func placesOf(some []*Holding) (places []Place) {
	for _, h := range some {
		places = append(places, h.places...)
	}
	return places
}
