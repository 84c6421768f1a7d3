// Package inflighttest is the test suite of the implementations of inflight.Store.
package inflighttest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// space has the form of real keys: ACLs allow no others.
var space = keyspace.New("ratelimit", "shop/orders")

// long is a lease that does not end within a test, and short one that does.
const (
	long  = inflight.Lease
	short = 50 * time.Millisecond
)

var made atomic.Int64

// Key returns a key that no other test uses.
func Key() string { return space.Key("busy", "in-flight", fmt.Sprint("test:", made.Add(1))) }

func id() string { return fmt.Sprint("request-", made.Add(1)) }

// Run tests a store. newStore returns one that may share its state with others of the same test. wait lets that time pass for it.
func Run(t *testing.T, newStore func(*testing.T) inflight.Store, wait func(time.Duration)) {
	tests := map[string]func(*user){
		"a maximum": maximum, "released places are free": releases, "all or nothing": allOrNothing, "shadow": shadow, "one request twice": twice,
		"leases end": leasesEnd, "renewed places last": renewals, "lost places are taken again": lost, "a changed maximum": changes,
		"many places": many, "concurrent": concurrent,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(&user{t: t, store: newStore(t), wait: wait}) })
	}
}

type user struct {
	t     *testing.T
	store inflight.Store
	wait  func(time.Duration)
}

func (u *user) acquire(id string, lease time.Duration, want []bool, asks ...inflight.Ask) {
	u.t.Helper()
	free, err := u.store.Acquire(u.t.Context(), id, lease, asks)
	if err != nil || !slices.Equal(free, want) {
		u.t.Fatalf("%v, %v; want %v", free, err, want)
	}
}

// one takes a place under one key.
func (u *user) one(key string, max int, want bool) inflight.Place {
	u.t.Helper()
	p := inflight.Place{Key: key, ID: id()}
	u.acquire(p.ID, long, []bool{want}, inflight.Ask{Key: key, Max: max})
	return p
}

func (u *user) release(places ...inflight.Place) {
	u.t.Helper()
	if err := u.store.Release(u.t.Context(), places); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) renew(lease time.Duration, places ...inflight.Place) {
	u.t.Helper()
	if err := u.store.Renew(u.t.Context(), lease, places); err != nil {
		u.t.Fatal(err)
	}
}

func maximum(u *user) {
	key, other := Key(), Key()
	for range 3 {
		u.one(key, 3, true)
	}
	u.one(key, 3, false)
	u.one(other, 1, true)
	u.one(other, 1, false)
}

func releases(u *user) {
	key := Key()
	first := u.one(key, 2, true)
	u.one(key, 2, true)
	u.release(inflight.Place{Key: key, ID: "nobody"}, inflight.Place{Key: Key(), ID: "nobody"})
	u.one(key, 2, false)
	u.release(first)
	u.release(first) // has no effect
	u.one(key, 2, true)
	u.one(key, 2, false)
	u.release()
}

func allOrNothing(u *user) {
	full, free := Key(), Key()
	u.one(full, 1, true)
	u.acquire(id(), long, []bool{true, false}, inflight.Ask{Key: free, Max: 1}, inflight.Ask{Key: full, Max: 1})
	u.one(free, 1, true)
}

func shadow(u *user) {
	full, free := Key(), Key()
	holder := u.one(full, 1, true)
	both := id()
	u.acquire(both, long, []bool{true, false}, inflight.Ask{Key: free, Max: 1}, inflight.Ask{Key: full, Max: 1, Shadow: true})
	u.one(free, 1, false)
	u.release(holder)
	u.one(full, 1, true) // the request in shadow mode took no place beyond the maximum
	u.release(inflight.Place{Key: free, ID: both})
	u.one(free, 1, true)
}

func twice(u *user) {
	key := Key()
	p := u.one(key, 2, true)
	u.acquire(p.ID, long, []bool{true}, inflight.Ask{Key: key, Max: 2})
	u.one(key, 2, true)
	u.one(key, 2, false)
}

func leasesEnd(u *user) {
	key := Key()
	u.acquire(id(), short, []bool{true}, inflight.Ask{Key: key, Max: 2})
	kept := u.one(key, 2, true)
	u.wait(2 * short)
	u.one(key, 2, true)
	u.one(key, 2, false)
	u.release(kept)
	u.one(key, 2, true)
}

func renewals(u *user) {
	key := Key()
	p := inflight.Place{Key: key, ID: id()}
	u.acquire(p.ID, short, []bool{true}, inflight.Ask{Key: key, Max: 1})
	u.renew(long, p)
	u.wait(2 * short)
	u.one(key, 1, false)
	u.renew(short, p) // also makes a lease shorter
	u.wait(2 * short)
	u.one(key, 1, true)
}

// lost: Renew takes places that the store no longer has, also beyond the maximum.
func lost(u *user) {
	key := Key()
	places := []inflight.Place{{Key: key, ID: id()}, {Key: key, ID: id()}, {Key: key, ID: id()}}
	u.renew(long, places...)
	u.one(key, 2, false)
	u.one(key, 3, false)
	u.release(places[:2]...)
	u.one(key, 2, true)
	u.one(key, 2, false)
}

func changes(u *user) {
	key := Key()
	first := u.one(key, 2, true)
	u.one(key, 2, true)
	u.one(key, 3, true)
	u.one(key, 2, false)
	u.release(first)
	u.one(key, 2, false)
	u.one(key, 3, true)
}

func many(u *user) {
	key := Key()
	kept := u.one(key, 1, true)
	var places []inflight.Place
	for range 1500 {
		places = append(places, inflight.Place{Key: key, ID: id()})
	}
	u.renew(short, places...)
	u.wait(2 * short)
	u.one(key, 1, false)
	u.one(key, 2, true)
	u.one(key, 2, false)
	u.release(kept)
	u.one(key, 2, true)
}

func concurrent(u *user) {
	const clients, limit = 40, 7
	a, b := Key(), Key()
	var most, now, passed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range 20 {
				request := id()
				asks := []inflight.Ask{{Key: a, Max: limit}, {Key: b, Max: clients}}
				free, err := u.store.Acquire(u.t.Context(), request, long, asks)
				if err != nil {
					u.t.Error(err)
					return
				}
				if inflight.Refused(asks, free) {
					continue
				}
				passed.Add(1)
				for n := now.Add(1); n > most.Load(); {
					most.Store(n)
				}
				now.Add(-1)
				u.release(inflight.Place{Key: a, ID: request}, inflight.Place{Key: b, ID: request})
			}
		})
	}
	all.Wait()
	if most.Load() > limit || passed.Load() == 0 {
		u.t.Errorf("%d at once, %d in all", most.Load(), passed.Load())
	}
	for range limit {
		u.one(a, limit, true)
	}
	u.one(a, limit, false)
	for range clients {
		u.one(b, clients, true)
	}
}
