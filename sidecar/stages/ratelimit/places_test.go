package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflightmemory"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
)

// away is an inflight.Store that is unavailable.
type away struct{}

var errAway = errors.New("away")

func (away) Acquire(context.Context, string, time.Duration, []inflight.Ask) ([]bool, error) {
	return nil, errAway
}
func (away) Renew(context.Context, time.Duration, []inflight.Place) error { return errAway }
func (away) Release(context.Context, []inflight.Place) error              { return errAway }

// limited returns a limiter whose requests in progress are counted in store, or else in local.
func limited(t *testing.T, store, local inflight.Store, rules ...ratelimit.Rule) (*ratelimit.Limiter, error) {
	t.Helper()
	keeper, err := inflight.NewKeeper(inflight.Config{Local: local})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keeper.Close)
	counters := ratelimitmemory.New(ratelimitmemory.Config{})
	return ratelimit.New(ratelimit.Config{Scope: "shop/orders", Store: counters, Local: counters, Places: keeper.Places(store, nil), Rules: rules})
}

func busy(change func(*ratelimit.Rule)) ratelimit.Rule {
	r := ratelimit.Rule{Name: "busy", MaxInFlight: 1, KeyBy: []ratelimit.KeyPart{{Type: ratelimit.ClientAddress}}, OnFailure: ratelimit.Allow}
	if change != nil {
		change(&r)
	}
	return r
}

// from sends a request of a client at addr to the stage in front of app.
func from(addr string, s stage.Stage, shadow bool, app func() error) (*request.Info, error) {
	info := &request.Info{ClientAddr: netip.MustParseAddr(addr), Path: "/", Shadow: shadow}
	h := stage.Chain(stage.Func(func(http.ResponseWriter, *http.Request) error { return app() }), s)
	return info, h.ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest("GET", "/", nil), info))
}

func done() error { return nil }

func code(err error) string {
	var e *httperr.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return ""
}

// TestPlaces: a place is held while the app responds, whatever it returns, and each key has its own.
func TestPlaces(t *testing.T) {
	store := inflightmemory.New(nil)
	l, err := limited(t, store, store, busy(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := l.Places()
	failed := errors.New("failed")
	ways := map[string]func() error{"a response": done, "an error": func() error { return failed }, "a panic": func() error { panic(http.ErrAbortHandler) }}
	for name, respond := range ways {
		t.Run(name, func(t *testing.T) {
			func() {
				defer func() { _ = recover() }()
				_, _ = from("192.0.2.1", s, false, func() error {
					info, err := from("192.0.2.1", s, false, done)
					if code(err) != "too-many-in-flight" || len(info.Decisions) != 1 || info.Decisions[0].Rule != "busy" {
						t.Errorf("a second request: %v, %+v", err, info.Decisions)
					}
					if _, err := from("192.0.2.2", s, false, done); err != nil {
						t.Errorf("another client: %v", err)
					}
					return respond()
				})
			}()
			if _, err := from("192.0.2.1", s, false, done); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestNobodyCounts: neither store is available.
func TestNobodyCounts(t *testing.T) {
	l, err := limited(t, away{}, away{}, busy(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from("192.0.2.1", l.Places(), false, done); code(err) != "rate-limit-unavailable" {
		t.Errorf("%v", err)
	}
	if info, err := from("192.0.2.1", l.Places(), true, done); err != nil || len(info.Decisions) != 1 {
		t.Errorf("in shadow mode: %v, %+v", err, info.Decisions)
	}
}

// TestDenyInShadow: a rule in shadow mode does not refuse while the store is unavailable.
func TestDenyInShadow(t *testing.T) {
	l, err := limited(t, away{}, inflightmemory.New(nil), busy(func(r *ratelimit.Rule) { r.Shadow, r.OnFailure = true, ratelimit.Deny }))
	if err != nil {
		t.Fatal(err)
	}
	info, err := from("192.0.2.1", l.Places(), false, done)
	if err != nil || len(info.Decisions) != 1 || info.Decisions[0].Err.Code != "rate-limit-unavailable" {
		t.Errorf("%v, %+v", err, info.Decisions)
	}
}

// TestPolicyInShadow: a full rule does not prevent the others from counting.
func TestPolicyInShadow(t *testing.T) {
	store := inflightmemory.New(nil)
	l, err := limited(t, store, store, busy(nil), busy(func(r *ratelimit.Rule) { r.Name, r.MaxInFlight = "wide", 2 }))
	if err != nil {
		t.Fatal(err)
	}
	refusals := func(app func() error) (names []string) {
		info, err := from("192.0.2.1", l.Places(), true, app)
		if err != nil {
			t.Error(err)
		}
		for _, d := range info.Decisions {
			names = append(names, d.Rule)
		}
		return names
	}
	var second, third []string
	refusals(func() error {
		second = refusals(func() error { third = refusals(done); return nil })
		return nil
	})
	if fmt.Sprint(second, third) != "[busy] [busy wide]" {
		t.Errorf("refused by %v and %v", second, third)
	}
}

// TestPlacesOfIPv6Networks: the rule says which network is one client.
func TestPlacesOfIPv6Networks(t *testing.T) {
	store := inflightmemory.New(nil)
	l, err := limited(t, store, store, busy(func(r *ratelimit.Rule) { r.IPv6PrefixLength = 48 }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = from("2001:db8:1:2::1", l.Places(), false, func() error {
		if _, err := from("2001:db8:1:3::1", l.Places(), false, done); code(err) != "too-many-in-flight" {
			t.Errorf("an address of the same /48: %v", err)
		}
		_, err := from("2001:db8:2:2::1", l.Places(), false, done)
		return err
	})
	if err != nil {
		t.Errorf("an address of another /48: %v", err)
	}
}

// TestRuleInShadow: a full rule in shadow mode does not prevent an enforced one from counting.
func TestRuleInShadow(t *testing.T) {
	store := inflightmemory.New(nil)
	l, err := limited(t, store, store, busy(func(r *ratelimit.Rule) { r.Shadow = true }), busy(func(r *ratelimit.Rule) { r.Name, r.MaxInFlight = "wide", 2 }))
	if err != nil {
		t.Fatal(err)
	}
	request := func(app func() error) error {
		_, err := from("192.0.2.1", l.Places(), false, app)
		return err
	}
	var third error
	err = request(func() error {
		return request(func() error { third = request(done); return nil })
	})
	if err != nil || code(third) != "too-many-in-flight" {
		t.Errorf("two requests: %v; a third one: %v", err, third)
	}
}

func TestRulesWithMaxInFlight(t *testing.T) {
	store := inflightmemory.New(nil)
	tests := map[string]struct {
		change  func(*ratelimit.Rule)
		wantErr string
	}{
		"alone":               {nil, ""},
		"with a limit":        {func(r *ratelimit.Rule) { r.Limit, r.Period, r.Cost = 5, time.Minute, 2 }, ""},
		"a negative number":   {func(r *ratelimit.Rule) { r.MaxInFlight = -1 }, "not positive"},
		"a burst":             {func(r *ratelimit.Rule) { r.Burst = 5 }, "need a limit"},
		"a cost":              {func(r *ratelimit.Rule) { r.Cost = 5 }, "need a limit"},
		"a cost of responses": {func(r *ratelimit.Rule) { r.CostFrom = &ratelimit.CostFrom{Header: "X-Cost"} }, "need a limit"},
		"a limit by claim":    {func(r *ratelimit.Rule) { r.ByClaim = &ratelimit.ByClaim{Claim: "plan"} }, "need a limit"},
		"an invalid limit":    {func(r *ratelimit.Rule) { r.Limit = 5 }, "period"},
		"no key":              {func(r *ratelimit.Rule) { r.KeyBy = nil }, "keyBy"},
		"no onFailure":        {func(r *ratelimit.Rule) { r.OnFailure = "" }, "onFailure"},
		"no name":             {func(r *ratelimit.Rule) { r.Name = "" }, "name"},
		"none":                {func(r *ratelimit.Rule) { r.MaxInFlight = 0 }, "limit"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := limited(t, store, store, busy(tt.change))
			if tt.wantErr == "" {
				if err != nil || l.Places() == nil || (l.After() == nil) != (name == "alone") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.wantErr)) {
				t.Errorf("error %v; want one with %q", err, tt.wantErr)
			}
		})
	}
	counters := ratelimitmemory.New(ratelimitmemory.Config{})
	if _, err := ratelimit.New(ratelimit.Config{Store: counters, Local: counters, Rules: []ratelimit.Rule{busy(nil)}}); err == nil {
		t.Error("a limiter without Places has no error")
	}
	if _, err := limited(t, store, store, busy(nil), busy(nil)); err == nil {
		t.Error("two rules with one name have no error")
	}
}
