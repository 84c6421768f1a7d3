package ratelimit_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

// with returns a change that gives the request an identity with claims.
func with(claims map[string]any) func(*http.Request, *request.Info) {
	return func(_ *http.Request, info *request.Info) {
		info.Identity = &identity.Identity{Issuer: "https://id.example.com", Subject: "ada", Claims: claims}
	}
}

func onPlan(plan any) func(*http.Request, *request.Info) { return with(map[string]any{"plan": plan}) }

// byPlan is a limit of 2, of 4 for gold and of 6 for the plan 7.
func byPlan() ratelimit.Rule {
	r := bySubject()
	r.Limit = 2
	r.ByClaim = &ratelimit.ByClaim{Claim: "plan", Plans: []ratelimit.Plan{
		{Value: "gold", Limit: 4, Period: time.Hour}, {Value: "7", Limit: 6, Period: time.Hour}, {Value: "true", Limit: 3, Period: time.Hour},
	}}
	return r
}

// passed sends n requests and counts those that pass.
func (f *fixture) passed(n int, change ...func(*http.Request, *request.Info)) int {
	f.t.Helper()
	count := 0
	for range n {
		if f.send("192.0.2.1", change...).Code == http.StatusOK {
			count++
		}
	}
	return count
}

func TestLimitByClaim(t *testing.T) {
	tests := map[string]struct {
		claims map[string]any
		want   int
	}{
		"a string":                          {claims: map[string]any{"plan": "gold"}, want: 4},
		"a number":                          {claims: map[string]any{"plan": json.Number("7")}, want: 6},
		"a boolean":                         {claims: map[string]any{"plan": true}, want: 3},
		"an array":                          {claims: map[string]any{"plan": []any{"silver", "gold"}}, want: 4},
		"an array: the policy's order":      {claims: map[string]any{"plan": []any{json.Number("7"), "gold"}}, want: 4},
		"another value":                     {claims: map[string]any{"plan": "silver"}, want: 2},
		"another case":                      {claims: map[string]any{"plan": "Gold"}, want: 2},
		"a string is not a list of words":   {claims: map[string]any{"plan": "silver gold"}, want: 2},
		"an object":                         {claims: map[string]any{"plan": map[string]any{"gold": true}}, want: 2},
		"null":                              {claims: map[string]any{"plan": nil}, want: 2},
		"no such claim":                     {claims: map[string]any{}, want: 2},
		"a nested claim is not another one": {claims: map[string]any{"x": map[string]any{"plan": "gold"}}, want: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newFixture(t, byPlan()).passed(10, with(tt.claims)); got != tt.want {
				t.Errorf("%d passed; want %d", got, tt.want)
			}
		})
	}
}

func TestLimitByNestedClaim(t *testing.T) {
	r := byPlan()
	r.ByClaim.Claim = "subscription.plan"
	f := newFixture(t, r)
	if got := f.passed(10, with(map[string]any{"subscription": map[string]any{"plan": "gold"}})); got != 4 {
		t.Errorf("%d passed; want 4", got)
	}
}

// TestPlanIsShown: the response's fields are those of the caller's plan.
func TestPlanIsShown(t *testing.T) {
	f := newFixture(t, byPlan())
	for plan, want := range map[string]string{"gold": `"person";q=4;w=3600`, "silver": `"person";q=2;w=60`} {
		if got := f.send("192.0.2.1", onPlan(plan)).Header().Get("RateLimit-Policy"); got != want {
			t.Errorf("%s: RateLimit-Policy %q; want %q", plan, got, want)
		}
	}
}

// TestChangeOfPlan: a new plan takes effect at the next request, with its whole quota, also if the old one was used up,
// and returning to the old plan does not give its quota again.
func TestChangeOfPlan(t *testing.T) {
	f := newFixture(t, byPlan())
	for i, step := range []struct {
		plan string
		want int
	}{{"free", 2}, {"gold", 4}, {"free", 0}, {"gold", 0}} {
		if got := f.passed(5, onPlan(step.plan)); got != step.want {
			t.Errorf("step %d, %s: %d passed; want %d", i, step.plan, got, step.want)
		}
	}
}

// TestPlanOfALimitByAddress: what Before remembers of anonymous clients does not refuse a caller of the same address with a
// plan, because Before does not know the plan.
func TestPlanOfALimitByAddress(t *testing.T) {
	r := byPlan()
	r.KeyBy = []ratelimit.KeyPart{{Type: ratelimit.ClientAddress}}
	f := newFixture(t, r)
	if got := f.passed(5); got != 2 {
		t.Fatalf("%d anonymous requests passed; want 2", got)
	}
	f.authn = func(_ http.ResponseWriter, req *http.Request) error {
		onPlan("gold")(nil, request.From(req))
		return nil
	}
	if got := f.passed(10); got != 4 {
		t.Errorf("%d requests of the plan passed; want 4", got)
	}
	f.authn = func(http.ResponseWriter, *http.Request) error { return errNoToken }
	f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1"))
}

func TestExempt(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	batch := []ratelimit.ExemptClaim{{Claim: "realm.roles", Members: identity.Members{Any: []string{"batch"}}}}
	roles := func(roles ...any) func(*http.Request, *request.Info) {
		return with(map[string]any{"realm": map[string]any{"roles": roles}})
	}
	tests := map[string]struct {
		addr   string
		who    func(*http.Request, *request.Info)
		exempt bool
	}{
		"an exempt IPv4 address":        {addr: "10.1.2.3", exempt: true},
		"the same, mapped":              {addr: "::ffff:10.1.2.3", exempt: true},
		"an exempt IPv6 address":        {addr: "2001:db8:7::1", exempt: true},
		"another IPv4 address":          {addr: "11.1.2.3"},
		"another IPv6 address":          {addr: "2001:db9::1"},
		"an exempt claim":               {addr: "192.0.2.1", who: roles("user", "batch"), exempt: true},
		"a member that contains it":     {addr: "192.0.2.1", who: roles("batches")},
		"an exempt claim with no roles": {addr: "192.0.2.1", who: roles()},
		"a token without the claim":     {addr: "192.0.2.1", who: as("ada")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := login()
			r.Limit, r.Exempt = 1, ratelimit.Exemption{ClientAddresses: networks, Claims: batch}
			f := newFixture(t, r)
			if tt.who != nil {
				f.authn = func(_ http.ResponseWriter, req *http.Request) error { tt.who(req, request.From(req)); return nil }
			}
			want := http.StatusTooManyRequests
			if tt.exempt {
				want = http.StatusOK
			}
			f.send(tt.addr)
			got := f.send(tt.addr)
			f.wantStatus(want, got)
			if shown := got.Header().Get("RateLimit") != ""; shown == tt.exempt {
				t.Errorf("RateLimit %q", got.Header().Get("RateLimit"))
			}
			if tt.exempt && f.store.calls != 0 {
				t.Errorf("the store was asked %d times about exempt requests", f.store.calls)
			}
		})
	}
}

// TestExemptBeforeAuthentication: an exempt address is not counted when authentication refuses it, and not refused by what is
// remembered.
func TestExemptBeforeAuthentication(t *testing.T) {
	r := login()
	r.Limit, r.Exempt.ClientAddresses = 1, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f := newFixture(t, r)
	f.authn = func(http.ResponseWriter, *http.Request) error { return errNoToken }
	for range 3 {
		f.wantStatus(http.StatusUnauthorized, f.send("10.0.0.1"))
	}
	f.wantStatus(http.StatusUnauthorized, f.send("11.0.0.1"))
	f.wantStatus(http.StatusTooManyRequests, f.send("11.0.0.1"))
}

func TestIPv6PrefixLength(t *testing.T) {
	tests := map[string]struct {
		bits     int
		neighbor string
		want     int
	}{
		"64 by default, in the network": {neighbor: "2001:db8:1:200::9", want: http.StatusTooManyRequests},
		"64 by default, outside":        {neighbor: "2001:db8:1:201::9", want: http.StatusOK},
		"56, in the network":            {bits: 56, neighbor: "2001:db8:1:2ff::9", want: http.StatusTooManyRequests},
		"56, outside":                   {bits: 56, neighbor: "2001:db8:1:300::9", want: http.StatusOK},
		"128":                           {bits: 128, neighbor: "2001:db8:1:200::2", want: http.StatusOK},
		"48 does not change IPv4":       {bits: 48, neighbor: "192.0.2.1", want: http.StatusOK},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := login()
			r.Limit, r.IPv6PrefixLength = 1, tt.bits
			f := newFixture(t, r)
			f.send("2001:db8:1:200::1")
			f.wantStatus(tt.want, f.send(tt.neighbor))
		})
	}
}

func TestCostOfRequests(t *testing.T) {
	r := login()
	r.Limit, r.Period, r.Cost = 10, time.Hour, 4
	f := newFixture(t, r)
	got := f.send("192.0.2.1")
	f.wantStatus(http.StatusOK, got)
	if limit := got.Header().Get("RateLimit"); limit != `"login";r=6;t=360` {
		t.Errorf("RateLimit %s", limit)
	}
	f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
	got = f.send("192.0.2.1")
	f.wantStatus(http.StatusTooManyRequests, got)
	if wait := got.Header().Get("Retry-After"); wait != "720" { // two are left, two more are needed
		t.Errorf("Retry-After %s; want 720", wait)
	}
	f.at = f.at.Add(12 * time.Minute)
	f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
}

func TestInvalidPlans(t *testing.T) {
	for name, change := range map[string]func(*ratelimit.Rule){
		"no claim":                  func(r *ratelimit.Rule) { r.ByClaim.Claim = "" },
		"no plans":                  func(r *ratelimit.Rule) { r.ByClaim.Plans = nil },
		"an empty value":            func(r *ratelimit.Rule) { r.ByClaim.Plans[0].Value = "" },
		"a plan without a limit":    func(r *ratelimit.Rule) { r.ByClaim.Plans[0].Limit = 0 },
		"a cost beyond the burst":   func(r *ratelimit.Rule) { r.Cost = 3 },
		"a negative cost":           func(r *ratelimit.Rule) { r.Cost = -1 },
		"an IPv6 prefix beyond 128": func(r *ratelimit.Rule) { r.IPv6PrefixLength = 129 },
	} {
		r := byPlan()
		change(&r)
		store := &countedStore{}
		if _, err := ratelimit.New(ratelimit.Config{Rules: []ratelimit.Rule{r}, Store: store, Local: store}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestExemptClaimAfterARefusal: a claim that exempts is not known before authentication, so what is remembered of the address must not
// refuse its holder.
func TestExemptClaimAfterARefusal(t *testing.T) {
	r := login()
	r.Limit = 1
	r.Exempt = ratelimit.Exemption{Claims: []ratelimit.ExemptClaim{{Claim: "role", Members: identity.Members{Any: []string{"batch"}}}}}
	f := newFixture(t, r)
	f.send("192.0.2.1")
	f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1"))
	holder := with(map[string]any{"role": "batch"})
	f.authn = func(_ http.ResponseWriter, req *http.Request) error { holder(req, request.From(req)); return nil }
	f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
}
