package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
)

// attempts is a limiter whose requests count only if they failed.
type attempts struct {
	*ratelimit.Limiter
	t            *testing.T
	at           time.Time
	store, local *countedStore
}

func newAttempts(t *testing.T, rule ratelimit.Rule) *attempts {
	t.Helper()
	a := &attempts{t: t, at: time.Unix(1e9, 0)}
	now := func() time.Time { return a.at }
	a.store = &countedStore{Store: ratelimitmemory.New(ratelimitmemory.Config{Now: now})}
	a.local = &countedStore{Store: ratelimitmemory.New(ratelimitmemory.Config{Now: now})}
	var err error
	a.Limiter, err = ratelimit.New(ratelimit.Config{Rules: []ratelimit.Rule{rule}, Scope: "shop/orders", Store: a.store, Local: a.local, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func attempt(addr string) (*http.Request, *request.Info) {
	info := &request.Info{ClientAddr: netip.MustParseAddr(addr), Path: "/login"}
	return request.With(httptest.NewRequest(http.MethodPost, "/login", nil), info), info
}

// try peeks, and charges if the attempt is allowed and fails. It returns the status of a refusal, or 0.
func (a *attempts) try(addr string, fails bool) int {
	r, _ := attempt(addr)
	if err := a.Peek(r); err != nil {
		return httperr.From(err).Status
	}
	if fails {
		a.Charge(r)
	}
	return 0
}

func (a *attempts) want(status int, addr string, fails bool) {
	a.t.Helper()
	if got := a.try(addr, fails); got != status {
		a.t.Errorf("refused with %d; want %d", got, status)
	}
}

func TestOnlyChargesCount(t *testing.T) {
	a := newAttempts(t, login())
	for range 50 {
		a.want(0, "192.0.2.1", false)
	}
	for range 5 {
		a.want(0, "192.0.2.1", true)
	}
	a.want(http.StatusTooManyRequests, "192.0.2.1", false)
	a.want(0, "192.0.2.2", false)
	a.at = a.at.Add(12 * time.Second)
	a.want(0, "192.0.2.1", false)
}

// TestConcurrentAttempts: all attempts that were allowed before the first failed are counted.
func TestConcurrentAttempts(t *testing.T) {
	rule := login()
	rule.Debt = 10
	a := newAttempts(t, rule)
	r, _ := attempt("192.0.2.1")
	for range 8 {
		if err := a.Peek(r); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		a.Charge(r)
	}
	err := a.Peek(r)
	if e := httperr.From(err); e.Status != http.StatusTooManyRequests || e.Header.Get("Retry-After") != "48" {
		t.Errorf("after 3 attempts beyond the quota: %v, %v; want 429 for 48 s", err, e.Header)
	}
}

// TestChargeAfterDisconnect: a client that disconnects before the app responds is counted as well.
func TestChargeAfterDisconnect(t *testing.T) {
	a := newAttempts(t, login())
	a.store.Store, a.local.err = deaf{a.store.Store}, errors.New("unavailable")
	for range 5 {
		r, _ := attempt("192.0.2.1")
		ctx, cancel := context.WithCancel(r.Context())
		r = r.WithContext(ctx)
		if err := a.Peek(r); err != nil {
			t.Fatal(err)
		}
		cancel()
		a.Charge(r)
	}
	a.want(http.StatusTooManyRequests, "192.0.2.1", false)
}

// deaf is a store that does nothing for a canceled context.
type deaf struct{ ratelimit.Store }

func (d deaf) Charge(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return d.Store.Charge(ctx, requests)
}

// TestChargeWithoutStore: while the store is unavailable the local store counts, and decides if onFailure is Allow.
func TestChargeWithoutStore(t *testing.T) {
	tests := map[string]struct {
		onFailure ratelimit.OnFailure
		charges   int
		want      int
	}{
		"allow, quota left": {onFailure: ratelimit.Allow, charges: 4},
		"allow, no quota":   {onFailure: ratelimit.Allow, charges: 5, want: http.StatusTooManyRequests},
		"deny":              {onFailure: ratelimit.Deny, charges: 1, want: http.StatusServiceUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rule := login()
			rule.OnFailure = tt.onFailure
			a := newAttempts(t, rule)
			a.store.err = errors.New("unavailable")
			r, _ := attempt("192.0.2.1")
			for range tt.charges {
				a.Charge(r)
			}
			a.want(tt.want, "192.0.2.1", false)
			if a.local.calls < tt.charges {
				t.Errorf("the local store was asked %d times", a.local.calls)
			}
		})
	}
}

func TestShadowPeek(t *testing.T) {
	rule := login()
	rule.Shadow = true
	a := newAttempts(t, rule)
	for range 6 {
		r, _ := attempt("192.0.2.1")
		a.Charge(r)
	}
	r, info := attempt("192.0.2.1")
	if err := a.Peek(r); err != nil || len(info.Decisions) != 1 || !info.Decisions[0].Shadow {
		t.Errorf("%v, decisions %+v; want one in shadow mode", err, info.Decisions)
	}
	if info.LimitsTaken {
		t.Error("a peek counts as the request's limits")
	}
}
