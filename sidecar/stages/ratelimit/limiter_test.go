package ratelimit_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
)

// countedStore is a store that a test can make unavailable.
type countedStore struct {
	ratelimit.Store
	mu    sync.Mutex
	calls int
	err   error
}

func (c *countedStore) called() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return c.err
}

func (c *countedStore) Take(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	if err := c.called(); err != nil {
		return nil, err
	}
	return c.Store.Take(ctx, requests)
}

func (c *countedStore) Peek(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	if err := c.called(); err != nil {
		return nil, err
	}
	return c.Store.Peek(ctx, requests)
}

func (c *countedStore) Charge(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	if err := c.called(); err != nil {
		return nil, err
	}
	return c.Store.Charge(ctx, requests)
}

// fixture is a chain of both stages, with an authentication between them that a test sets.
type fixture struct {
	t       *testing.T
	at      time.Time
	store   *countedStore
	local   *countedStore
	handler stage.Handler
	// log and registry have what the charges of responses wrote.
	log      *logtest.Buffer
	registry *prometheus.Registry
	// authn and app are what the stages in the middle and at the end do.
	authn, app stage.Func
}

func newFixture(t *testing.T, rules ...ratelimit.Rule) *fixture {
	t.Helper()
	f := &fixture{t: t, at: time.Unix(1e9, 0), log: &logtest.Buffer{}, registry: prometheus.NewRegistry()}
	now := func() time.Time { return f.at }
	f.store = &countedStore{Store: ratelimitmemory.New(ratelimitmemory.Config{Now: now})}
	f.local = &countedStore{Store: ratelimitmemory.New(ratelimitmemory.Config{Now: now})}
	metrics, err := ratelimit.NewMetrics(f.registry)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ratelimit.New(ratelimit.Config{
		Rules: rules, Scope: "shop/orders", Store: f.store, Local: f.local, Now: now, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	authn := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if f.authn != nil {
				if err := f.authn(w, r); err != nil {
					return err
				}
			}
			return next.ServeHTTP(w, r)
		})
	}
	app := stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		if f.app != nil {
			return f.app(w, r)
		}
		_, err := io.WriteString(w, "ok")
		return err
	})
	f.handler = stage.Chain(app, l.Before(), authn, l.After(), l.Charges())
	return f
}

// sent is a request and its outcome.
type sent struct {
	*httptest.ResponseRecorder
	info *request.Info
}

// send sends a request of the client at addr; change may set more.
func (f *fixture) send(addr string, change ...func(*http.Request, *request.Info)) sent {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	info := &request.Info{ClientAddr: netip.MustParseAddr(addr), Path: "/login"}
	for _, c := range change {
		c(r, info)
	}
	r = request.With(r, info)
	w := httptest.NewRecorder()
	if err := f.handler.ServeHTTP(w, r); err != nil {
		httperr.Write(w, r, err)
	}
	return sent{ResponseRecorder: w, info: info}
}

func (f *fixture) wantStatus(want int, got sent) {
	f.t.Helper()
	if got.Code != want {
		f.t.Errorf("status %d; want %d: %s", got.Code, want, got.Body)
	}
}

func login() ratelimit.Rule {
	return ratelimit.Rule{Name: "login", Limit: 5, Period: time.Minute, OnFailure: ratelimit.Allow,
		KeyBy: []ratelimit.KeyPart{{Type: ratelimit.ClientAddress}}}
}

func bySubject() ratelimit.Rule {
	r := login()
	r.Name, r.KeyBy = "person", []ratelimit.KeyPart{{Type: ratelimit.Subject}}
	return r
}

func as(subject string) func(*http.Request, *request.Info) {
	return func(_ *http.Request, info *request.Info) {
		info.Identity = &identity.Identity{Issuer: "https://id.example.com", Subject: subject}
	}
}

func shadowPolicy(_ *http.Request, info *request.Info) { info.Shadow = true }

var errNoToken = &httperr.Error{Status: http.StatusUnauthorized, Code: "no-token"}

func TestFiveAMinute(t *testing.T) {
	f := newFixture(t, login())
	for _, want := range []string{`"login";r=4;t=12`, `"login";r=3;t=12`, `"login";r=2;t=12`, `"login";r=1;t=12`, `"login";r=0;t=12`} {
		got := f.send("192.0.2.1")
		f.wantStatus(http.StatusOK, got)
		if limit := got.Header().Get("RateLimit"); limit != want {
			t.Errorf("RateLimit: %s; want %s", limit, want)
		}
	}
	f.at = f.at.Add(1500 * time.Millisecond)
	for range 3 {
		got := f.send("192.0.2.1")
		f.wantStatus(http.StatusTooManyRequests, got)
		for name, want := range map[string]string{
			"Retry-After": "11", "RateLimit": `"login";r=0;t=11`, "RateLimit-Policy": `"login";q=5;w=60`, "Content-Type": "application/problem+json",
		} {
			if h := got.Header().Get(name); h != want {
				t.Errorf("%s: %s; want %s", name, h, want)
			}
		}
		if !strings.Contains(got.Body.String(), "problems/rate-limited") || len(got.info.Decisions) != 1 || got.info.Decisions[0].Rule != "login" {
			t.Errorf("body %s, decisions %+v", got.Body, got.info.Decisions)
		}
	}
	f.wantStatus(http.StatusOK, f.send("192.0.2.2"))
	f.at = f.at.Add(11 * time.Second)
	f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
	f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1"))
}

func TestFloodDoesNotReachTheStore(t *testing.T) {
	for name, rule := range map[string]ratelimit.Rule{"by address, in Before": login(), "by subject, in After": bySubject()} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, rule)
			for range 6 {
				f.send("192.0.2.1", as("ada"))
			}
			authn := 0
			f.authn = func(http.ResponseWriter, *http.Request) error { authn++; return nil }
			for range 100 {
				f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1", as("ada")))
			}
			if f.store.calls != 6 {
				t.Errorf("the store was asked %d times; want 6", f.store.calls)
			}
			if rule.Name == "login" && authn != 0 {
				t.Errorf("authentication ran %d times for a key that is known to be refused", authn)
			}
			f.at = f.at.Add(12 * time.Second)
			f.wantStatus(http.StatusOK, f.send("192.0.2.1", as("ada")))
		})
	}
}

func TestRequestIsCountedOnce(t *testing.T) {
	broken := &httperr.Error{Status: http.StatusBadGateway, Code: "upstream"}
	tests := map[string]struct {
		authn, app error
		wantStatus int
		wantPerson bool
	}{
		"served":                    {wantStatus: http.StatusOK, wantPerson: true},
		"refused by authentication": {authn: errNoToken, wantStatus: http.StatusUnauthorized},
		"failed by the app":         {app: broken, wantStatus: http.StatusBadGateway, wantPerson: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, login(), bySubject())
			f.authn = func(http.ResponseWriter, *http.Request) error { return tt.authn }
			if tt.app != nil {
				f.app = func(http.ResponseWriter, *http.Request) error { return tt.app }
			}
			got := f.send("192.0.2.1", as("ada"))
			f.wantStatus(tt.wantStatus, got)
			want := `"login";r=4;t=12`
			if tt.wantPerson {
				want += `, "person";r=4;t=12`
			}
			if limit := got.Header().Get("RateLimit"); limit != want || f.store.calls != 1 {
				t.Errorf("RateLimit: %s after %d calls; want %s after 1", limit, f.store.calls, want)
			}
		})
	}
}

func TestRefusedAuthenticationIsLimitedByAddress(t *testing.T) {
	f := newFixture(t, login(), bySubject())
	f.authn = func(http.ResponseWriter, *http.Request) error { return errNoToken }
	for range 5 {
		f.wantStatus(http.StatusUnauthorized, f.send("192.0.2.1"))
	}
	got := f.send("192.0.2.1")
	f.wantStatus(http.StatusTooManyRequests, got)
	if got.Header().Get("Retry-After") != "12" {
		t.Errorf("Retry-After: %s", got.Header().Get("Retry-After"))
	}
	f.authn = nil
	f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1", as("ada")))
	f.wantStatus(http.StatusOK, f.send("192.0.2.2", as("ada")))
}

func TestRefusedRequestUsesNoQuota(t *testing.T) {
	tight := bySubject()
	tight.Burst = 1
	f := newFixture(t, login(), tight)
	f.wantStatus(http.StatusOK, f.send("192.0.2.1", as("ada")))
	for range 10 {
		f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1", as("ada")))
	}
	got := f.send("192.0.2.1", as("bob"))
	f.wantStatus(http.StatusOK, got)
	if want := `"login";r=3;t=12, "person";r=0;t=12`; got.Header().Get("RateLimit") != want {
		t.Errorf("RateLimit: %s; want %s", got.Header().Get("RateLimit"), want)
	}
}

func TestShadow(t *testing.T) {
	hidden := login()
	hidden.Name, hidden.Burst, hidden.Shadow, hidden.OnFailure = "hidden", 1, true, ratelimit.Deny
	f := newFixture(t, hidden, login())
	f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
	for range 4 {
		got := f.send("192.0.2.1")
		f.wantStatus(http.StatusOK, got)
		if len(got.info.Decisions) != 1 || !got.info.Decisions[0].Shadow || got.info.Decisions[0].Rule != "hidden" {
			t.Errorf("decisions %+v; want the shadow rule's refusal", got.info.Decisions)
		}
		if h := got.Header(); strings.Contains(h.Get("RateLimit")+h.Get("RateLimit-Policy"), "hidden") {
			t.Errorf("a shadow rule shows: %v", h)
		}
	}
	f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1"))
	f.store.err = errors.New("unavailable")
	f.wantStatus(http.StatusOK, f.send("192.0.2.9"))
}

func TestShadowPolicy(t *testing.T) {
	deny := login()
	deny.OnFailure = ratelimit.Deny
	f := newFixture(t, deny)
	for range 5 {
		f.send("192.0.2.1", shadowPolicy)
	}
	got := f.send("192.0.2.1", shadowPolicy)
	f.wantStatus(http.StatusOK, got)
	if len(got.info.Decisions) != 1 || !got.info.Decisions[0].Shadow || got.Header().Get("RateLimit") != "" {
		t.Errorf("decisions %+v, header %v", got.info.Decisions, got.Header())
	}
	f.store.err, f.local.err = errors.New("unavailable"), errors.New("unavailable too")
	got = f.send("192.0.2.1", shadowPolicy)
	f.wantStatus(http.StatusOK, got)
	if len(got.info.Decisions) != 2 {
		t.Errorf("decisions %+v; want the failure of both stores", got.info.Decisions)
	}
}

func TestStoreUnavailable(t *testing.T) {
	deny := login()
	deny.Name, deny.OnFailure = "strict", ratelimit.Deny
	tests := map[string]struct {
		rules      []ratelimit.Rule
		localErr   error
		wantStatus []int
	}{
		"allow: the local limit applies": {rules: []ratelimit.Rule{login()}, wantStatus: []int{200, 200, 200, 200, 200, 429, 429}},
		"deny":                           {rules: []ratelimit.Rule{deny}, wantStatus: []int{503, 503}},
		"one denies":                     {rules: []ratelimit.Rule{login(), deny}, wantStatus: []int{503, 503}},
		"the local store fails as well":  {rules: []ratelimit.Rule{login()}, localErr: errors.New("unavailable"), wantStatus: []int{503}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tt.rules...)
			f.store.err, f.local.err = errors.New("redis: secret detail"), tt.localErr
			for _, want := range tt.wantStatus {
				got := f.send("192.0.2.1")
				f.wantStatus(want, got)
				if want == http.StatusServiceUnavailable && (got.Header().Get("Retry-After") != "1" || strings.Contains(got.Body.String(), "secret")) {
					t.Errorf("%v %s", got.Header(), got.Body)
				}
			}
			f.store.err = nil
			f.at = f.at.Add(12 * time.Second)
			f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
		})
	}
}

func TestRulesApplyByRoute(t *testing.T) {
	matcher, err := route.NewMatcher([]route.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}})
	if err != nil {
		t.Fatal(err)
	}
	rule := login()
	rule.Match = matcher
	f := newFixture(t, rule)
	got := f.send("192.0.2.1", func(_ *http.Request, info *request.Info) { info.Path = "/other" })
	f.wantStatus(http.StatusOK, got)
	if got.Header().Get("RateLimit") != "" || f.store.calls != 0 || !got.info.LimitsTaken {
		t.Errorf("a route without limits: %v, %d calls", got.Header(), f.store.calls)
	}
	if got := f.send("192.0.2.1"); got.Header().Get("RateLimit") == "" {
		t.Error("no fields on the limited route")
	}
}

func TestNoRulesNoStages(t *testing.T) {
	l, err := ratelimit.New(ratelimit.Config{Store: ratelimitmemory.New(ratelimitmemory.Config{}), Local: ratelimitmemory.New(ratelimitmemory.Config{})})
	if err != nil || l.Before() != nil || l.After() != nil {
		t.Errorf("a policy without limits has stages, or %v", err)
	}
}

func BenchmarkAfter(b *testing.B) {
	store := ratelimitmemory.New(ratelimitmemory.Config{})
	rule := login()
	rule.Limit, rule.Period, rule.Burst = 1e6, time.Second, 1e6
	l, err := ratelimit.New(ratelimit.Config{Rules: []ratelimit.Rule{rule}, Scope: "shop/orders", Store: store, Local: store})
	if err != nil {
		b.Fatal(err)
	}
	h := stage.Chain(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }), l.After())
	info := &request.Info{ClientAddr: netip.MustParseAddr("192.0.2.1"), Path: "/login"}
	r := request.With(httptest.NewRequest(http.MethodPost, "/login", nil), info)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		if err := h.ServeHTTP(w, r); err != nil {
			b.Fatal(err)
		}
	}
}
