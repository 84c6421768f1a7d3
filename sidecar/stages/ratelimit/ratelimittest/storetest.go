// Package ratelimittest is what every ratelimit.Store must do, as tests.
package ratelimittest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// slow is a rate of which nothing comes back while a test runs.
func slow(burst int) gcra.Rate { return gcra.Rate{Emission: time.Hour, Burst: burst} }

// Run tests a store; open returns one more user of the same shared store each time that it is called with the same t.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	tests := map[string]func(*testing.T, *user){
		"a burst passes and no more":                 burst,
		"keys are apart":                             apart,
		"a refused request uses nothing up":          refusedUsesNothing,
		"a shadow limit stops nothing":               shadow,
		"a shadow limit is not counted when refused": shadowNotCounted,
		"quota comes back":                           comesBack,
		"a faster rate is not held up by a slower":   changedRate,
		"exact under many takes at once":             exact,
		"overlapping keys in any order":              overlapping,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &user{t: t, store: open(t), space: keyspace.New("ratelimit", "shop/"+t.Name())})
		})
	}
}

// user takes from a store under keys of its own.
type user struct {
	t     *testing.T
	store ratelimit.Store
	space keyspace.Keyspace
}

func (u *user) request(key string, rate gcra.Rate) ratelimit.Request {
	return ratelimit.Request{Key: u.space.Key("rule", key), Rate: rate}
}

func (u *user) shadow(key string, rate gcra.Rate) ratelimit.Request {
	return ratelimit.Request{Key: u.space.Key("rule", key), Rate: rate, Shadow: true}
}

func (u *user) take(requests ...ratelimit.Request) []ratelimit.Result {
	u.t.Helper()
	results, err := u.store.Take(context.Background(), requests)
	if err != nil {
		u.t.Fatal(err)
	}
	if len(results) != len(requests) {
		u.t.Fatalf("%d results for %d requests", len(results), len(requests))
	}
	return results
}

// wantTake takes and compares what is allowed and what remains, which no clock changes in a slow rate.
func (u *user) wantTake(want []ratelimit.Result, requests ...ratelimit.Request) {
	u.t.Helper()
	for i, got := range u.take(requests...) {
		if got.Allowed != want[i].Allowed || got.Remaining != want[i].Remaining {
			u.t.Errorf("limit %d: %+v; want %+v", i, got, want[i])
		}
		if !got.Allowed && (got.Next <= 0 || got.Next > requests[i].Rate.Emission) {
			u.t.Errorf("limit %d: refused, to be tried again after %s", i, got.Next)
		}
	}
}

func yes(remaining int) ratelimit.Result {
	return ratelimit.Result{Allowed: true, Remaining: remaining}
}

func no() ratelimit.Result { return ratelimit.Result{} }

func burst(_ *testing.T, u *user) {
	for left := 4; left >= 0; left-- {
		u.wantTake([]ratelimit.Result{yes(left)}, u.request("a", slow(5)))
	}
	u.wantTake([]ratelimit.Result{no()}, u.request("a", slow(5)))
	u.wantTake([]ratelimit.Result{no()}, u.request("a", slow(5)))
}

func apart(_ *testing.T, u *user) {
	u.wantTake([]ratelimit.Result{yes(0)}, u.request("a", slow(1)))
	u.wantTake([]ratelimit.Result{yes(0)}, u.request("b", slow(1)))
	u.wantTake([]ratelimit.Result{yes(1), yes(2)}, u.request("c", slow(2)), u.request("d", slow(3)))
}

func refusedUsesNothing(_ *testing.T, u *user) {
	u.wantTake([]ratelimit.Result{yes(0)}, u.request("spent", slow(1)))
	for range 5 {
		u.wantTake([]ratelimit.Result{yes(3), no()}, u.request("whole", slow(3)), u.request("spent", slow(1)))
		u.wantTake([]ratelimit.Result{no(), yes(3)}, u.request("spent", slow(1)), u.request("whole", slow(3)))
	}
	u.wantTake([]ratelimit.Result{yes(2)}, u.request("whole", slow(3)))
}

func shadow(_ *testing.T, u *user) {
	u.wantTake([]ratelimit.Result{yes(0), yes(2)}, u.shadow("shadow", slow(1)), u.request("enforced", slow(3)))
	u.wantTake([]ratelimit.Result{no(), yes(1)}, u.shadow("shadow", slow(1)), u.request("enforced", slow(3)))
	u.wantTake([]ratelimit.Result{yes(0), no()}, u.request("enforced", slow(3)), u.shadow("shadow", slow(1)))
	u.wantTake([]ratelimit.Result{no(), no()}, u.request("enforced", slow(3)), u.shadow("shadow", slow(1)))
}

func shadowNotCounted(_ *testing.T, u *user) {
	u.wantTake([]ratelimit.Result{yes(0)}, u.request("spent", slow(1)))
	u.wantTake([]ratelimit.Result{yes(2), no()}, u.shadow("shadow", slow(2)), u.request("spent", slow(1)))
	u.wantTake([]ratelimit.Result{yes(1)}, u.shadow("shadow", slow(2)))
}

func comesBack(t *testing.T, u *user) {
	fast := gcra.Rate{Emission: 50 * time.Millisecond, Burst: 1}
	u.take(u.request("a", fast))
	deadline := time.Now().Add(30 * time.Second)
	for !u.take(u.request("a", fast))[0].Allowed {
		if time.Now().After(deadline) {
			t.Fatal("the quota did not come back")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// changedRate is a policy's change: what was used under the old rate counts as a used quota of the new one at most.
func changedRate(_ *testing.T, u *user) {
	u.wantTake([]ratelimit.Result{yes(0)}, u.request("a", slow(1)))
	result := u.take(u.request("a", gcra.Rate{Emission: time.Second, Burst: 2}))[0]
	if result.Allowed || result.Next > time.Second {
		u.t.Errorf("under the new rate: %+v; want a refusal for at most its emission", result)
	}
}

func exact(t *testing.T, u *user) {
	const quota, callers, each = 40, 100, 4
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				results, err := u.store.Take(t.Context(), []ratelimit.Request{u.request("a", slow(quota)), u.request("b", slow(2*quota))})
				if err != nil {
					t.Error(err)
					return
				}
				if results[0].Allowed && results[1].Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != quota {
		t.Errorf("%d of %d passed; want %d", allowed.Load(), callers*each, quota)
	}
	u.wantTake([]ratelimit.Result{yes(quota - 1)}, u.request("b", slow(2*quota)))
}

func overlapping(t *testing.T, u *user) {
	const callers, keys = 40, 5
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			var requests []ratelimit.Request
			for k := range keys {
				requests = append(requests, u.request(fmt.Sprint((c+k)%keys), slow(callers+1)))
			}
			if c%2 == 0 {
				slices.Reverse(requests)
			}
			if _, err := u.store.Take(t.Context(), requests); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for k := range keys {
		u.wantTake([]ratelimit.Result{yes(0)}, u.request(fmt.Sprint(k), slow(callers+1)))
	}
}
