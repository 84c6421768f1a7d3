package inflight

import (
	"context"
	"slices"
	"time"
)

// maxLeftovers bounds the memory of leftovers, which are about 200 bytes each.
const maxLeftovers = 10_000

// leftovers are places that may be held by nobody in a store: their release failed, or the reply to the call that took them was lost. A
// store that was slow may run that call later, so each is released repeatedly until its lease has ended.
type leftovers []leftover

type leftover struct {
	of    *Places
	place Place
	until time.Time
}

// leave adds places to the leftovers. Beyond the bound they end with their lease.
func (k *Keeper) leave(p *Places, places []Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	until := time.Now().Add(k.lease)
	for _, place := range places[:min(len(places), maxLeftovers-len(k.left))] {
		k.left = append(k.left, leftover{of: p, place: place, until: until})
		p.begin()
	}
}

// sweep releases the leftovers once, and forgets those whose lease has ended.
func (k *Keeper) sweep(ctx context.Context) {
	k.mu.Lock()
	by := map[*Places][]Place{}
	for _, l := range k.left {
		by[l.of] = append(by[l.of], l.place)
	}
	k.mu.Unlock()
	for p, all := range by {
		for some := range slices.Chunk(all, batch) {
			if ctx.Err() != nil || p.store.Release(ctx, some) != nil {
				break // the next sweep
			}
		}
	}
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = slices.DeleteFunc(k.left, func(l leftover) bool {
		ended := !now.Before(l.until)
		if ended {
			l.of.end()
		}
		return ended
	})
}

// hold makes the Keeper renew h.
func (k *Keeper) hold(h *Holding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[h] = struct{}{}
	h.of.begin()
}

// drop ends the renewals of h.
func (k *Keeper) drop(h *Holding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, h)
	h.of.end()
}

// begin counts a user of the store. The Keeper's mutex is held.
func (p *Places) begin() {
	if p.users++; p.users == 1 && p.use != nil {
		p.done = p.use()
	}
}

// end is the opposite of begin.
func (p *Places) end() {
	if p.users--; p.users == 0 && p.done != nil {
		p.done()
		p.done = nil
	}
}
