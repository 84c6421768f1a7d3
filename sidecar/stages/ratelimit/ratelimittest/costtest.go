package ratelimittest

import (
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

func (u *user) costs(cost int, key string, rate gcra.Rate) ratelimit.Request {
	r := u.request(key, rate)
	r.Cost = cost
	return r
}

// cost tests that a request with a cost passes only if the quota has all of it, and says how long that takes.
func cost(_ *testing.T, u *user) {
	u.want(u.take(u.costs(3, "a", slow(5)))[0], true, 2, 1)
	u.want(u.take(u.costs(3, "a", slow(5)))[0], false, 2, 1)
	u.want(u.take(u.costs(5, "a", slow(5)))[0], false, 2, 3)
	u.want(u.take(u.costs(2, "a", slow(5)))[0], true, 0, 1)
	u.want(u.ask(u.store.Charge, u.costs(4, "b", inDebt(2, 100)))[0], false, 0, 3)
	u.want(u.ask(u.store.Charge, u.costs(1<<60, "b", inDebt(2, 100)))[0], false, 0, 101)
}

// later tests that a request which is charged later is decided on with the others, and counts nothing until then.
func later(_ *testing.T, u *user) {
	model := func() ratelimit.Request {
		r := u.request("model", inDebt(2, 5))
		r.Later = true
		return r
	}
	for left := range 3 {
		got := u.take(model(), u.request("plain", slow(4)))
		u.want(got[0], true, 2, 0)
		u.want(got[1], true, 3-left, 1)
	}
	charge := model()
	charge.Cost = 4
	u.want(u.ask(u.store.Charge, charge)[0], false, 0, 3)
	got := u.take(model(), u.request("plain", slow(4)))
	u.want(got[0], false, 0, 3)
	u.want(got[1], true, 1, 1) // nothing is counted for a refused request
}

// staleRate tests that a key that a slower rate filled, or a clock that was set back, is free again after the new rate's own
// time, whichever operation comes first.
func staleRate(t *testing.T, u *user) {
	fast := gcra.Rate{Emission: 20 * time.Millisecond, Burst: 2}
	ask := map[string]func(ratelimit.Request) bool{
		"take": func(r ratelimit.Request) bool { return u.take(r)[0].Allowed },
		"peek": func(r ratelimit.Request) bool { return u.ask(u.store.Peek, r)[0].Allowed },
	}
	for name, allowed := range ask {
		u.take(u.request(name, slow(1)))
		deadline := time.Now().Add(30 * time.Second)
		for !allowed(u.request(name, fast)) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the new rate refuses for as long as the old one", name)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
