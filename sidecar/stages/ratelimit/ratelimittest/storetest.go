// Package ratelimittest has the conformance tests for implementations of ratelimit.Store.
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

// slow returns a rate whose quota does not become available again while a test runs.
func slow(burst int) gcra.Rate { return gcra.Rate{Emission: time.Hour, Burst: burst} }

// Run tests a store. open returns one more client of the same shared store each time it is called with the same t.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	tests := map[string]func(*testing.T, *user){
		"a burst passes and no more":                   burst,
		"keys are separate":                            apart,
		"a refused request uses no quota":              refusedUsesNothing,
		"a shadow limit refuses nothing":               shadow,
		"a shadow limit is not counted when refused":   shadowNotCounted,
		"quota becomes available again":                comesBack,
		"a faster rate after a slower one":             changedRate,
		"concurrent takes are exact":                   exact,
		"overlapping keys in any order":                overlapping,
		"a peek counts nothing":                        peek,
		"a charge counts beyond the quota":             charge,
		"a debt is bounded":                            debt,
		"a charge counts every limit":                  chargeAll,
		"concurrent charges are exact":                 exactCharges,
		"quota becomes available again after a charge": chargeComesBack,
		"a request that counts as several":             cost,
		"a request that is charged later":              later,
		"a faster rate does not wait for a slower one": staleRate,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &user{t: t, store: open(t), space: keyspace.New("ratelimit", "shop/"+t.Name())})
		})
	}
}

// user uses a store with its own keys.
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

// wantTake calls Take and compares what is allowed and what remains. The clock does not change these in a slow rate.
func (u *user) wantTake(want []ratelimit.Result, requests ...ratelimit.Request) {
	u.t.Helper()
	for i, got := range u.take(requests...) {
		if got.Allowed != want[i].Allowed || got.Remaining != want[i].Remaining {
			u.t.Errorf("limit %d: %+v; want %+v", i, got, want[i])
		}
		if !got.Allowed && (got.Next <= 0 || got.Next > requests[i].Rate.Emission) {
			u.t.Errorf("limit %d: refused, retry after %s", i, got.Next)
		}
	}
}

// ask runs Peek or Charge.
func (u *user) ask(op func(context.Context, []ratelimit.Request) ([]ratelimit.Result, error), requests ...ratelimit.Request) []ratelimit.Result {
	u.t.Helper()
	results, err := op(context.Background(), requests)
	if err != nil {
		u.t.Fatal(err)
	}
	if len(results) != len(requests) {
		u.t.Fatalf("%d results for %d requests", len(results), len(requests))
	}
	return results
}

// want compares what is allowed, what remains, and after how many hours one more request of a slow rate passes.
func (u *user) want(got ratelimit.Result, allowed bool, remaining, hours int) {
	u.t.Helper()
	next := time.Duration(hours) * time.Hour
	if got.Allowed != allowed || got.Remaining != remaining || got.Next > next || got.Next < next-time.Minute {
		u.t.Errorf("%+v; want allowed %v, %d remaining, one more after %s", got, allowed, remaining, next)
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
			t.Fatal("the quota did not become available again")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// changedRate changes a policy's rate: usage under the old rate counts as at most the whole quota of the new rate.
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

// inDebt returns a slow rate that may be charged beyond its quota.
func inDebt(burst, debt int) gcra.Rate {
	return gcra.Rate{Emission: time.Hour, Burst: burst, Debt: debt}
}

func peek(_ *testing.T, u *user) {
	for range 5 {
		got := u.ask(u.store.Peek, u.request("a", slow(2)), u.request("spent", slow(1)))
		u.want(got[0], true, 2, 0)
		u.want(got[1], true, 1, 0)
	}
	u.take(u.request("spent", slow(1)))
	got := u.ask(u.store.Peek, u.request("a", slow(2)), u.request("spent", slow(1)))
	u.want(got[0], true, 2, 0)
	u.want(got[1], false, 0, 1)
	u.wantTake([]ratelimit.Result{yes(1)}, u.request("a", slow(2)))
	u.want(u.ask(u.store.Peek, u.request("a", slow(2)))[0], true, 1, 1)
}

// charge tests that a peek allows five attempts at the same time, that each is counted, and that the sixth waits for
// all of them.
func charge(_ *testing.T, u *user) {
	request := u.request("a", inDebt(2, 10))
	for i, want := range []struct {
		allowed          bool
		remaining, hours int
	}{{true, 1, 1}, {true, 0, 1}, {false, 0, 2}, {false, 0, 3}, {false, 0, 4}} {
		u.t.Log("charge", i+1)
		u.want(u.ask(u.store.Charge, request)[0], want.allowed, want.remaining, want.hours)
	}
	u.want(u.ask(u.store.Peek, request)[0], false, 0, 4)
	u.want(u.take(request)[0], false, 0, 4)
}

func debt(_ *testing.T, u *user) {
	for range 20 {
		u.ask(u.store.Charge, u.request("three", inDebt(2, 3)), u.request("none", slow(2)))
	}
	got := u.ask(u.store.Peek, u.request("three", inDebt(2, 3)), u.request("none", slow(2)))
	u.want(got[0], false, 0, 4)
	u.want(got[1], false, 0, 1)
}

// chargeAll tests that no limit stops another one from being counted, whether or not it is enforced.
func chargeAll(_ *testing.T, u *user) {
	u.take(u.request("spent", slow(1)))
	got := u.ask(u.store.Charge, u.request("a", slow(3)), u.request("spent", slow(1)), u.shadow("b", slow(3)))
	u.want(got[0], true, 2, 1)
	u.want(got[1], false, 0, 1)
	u.want(got[2], true, 2, 1)
	u.wantTake([]ratelimit.Result{yes(1), yes(1)}, u.request("a", slow(3)), u.request("b", slow(3)))
}

func exactCharges(t *testing.T, u *user) {
	const callers, each = 20, 5
	rate := inDebt(10, 1000)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, err := u.store.Charge(t.Context(), []ratelimit.Request{u.request("a", rate), u.request("b", rate)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, key := range []string{"a", "b"} {
		u.want(u.ask(u.store.Peek, u.request(key, rate))[0], false, 0, callers*each-10+1)
	}
}

func chargeComesBack(t *testing.T, u *user) {
	fast := gcra.Rate{Emission: 20 * time.Millisecond, Burst: 1, Debt: 3}
	for range 4 {
		u.ask(u.store.Charge, u.request("a", fast))
	}
	deadline := time.Now().Add(30 * time.Second)
	for !u.ask(u.store.Peek, u.request("a", fast))[0].Allowed {
		if time.Now().After(deadline) {
			t.Fatal("the quota did not become available again")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
