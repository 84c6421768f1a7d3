package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
)

const (
	own     = "https://auth.example"
	foreign = "https://idp.example"
	agent   = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
)

var address = netip.MustParseAddr("192.0.2.1")

// world is a stage on a store with a fake clock. It counts the calls to the store.
type world struct {
	session.Store
	t    *testing.T
	mu   sync.Mutex
	now  time.Time
	fail error
	asks atomic.Int64
	stage.Stage
}

func newWorld(t *testing.T, change func(*session.Config)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.Store = sessionmemory.New(sessionmemory.Config{Now: w.time})
	c := session.Config{
		Store: w, Issuer: own, Bind: session.BindNone, OnFailure: session.Deny, Now: w.time, SubjectFrom: session.FromSID,
		Limits:           session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: 2, WhenFull: session.Reject},
		StripCredentials: func(h http.Header) { h.Del("X-User") },
	}
	change(&c)
	var err error
	if w.Stage, err = session.NewStage(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) Touch(ctx context.Context, id string, coalesce time.Duration) (session.Session, error) {
	w.asks.Add(1)
	if w.fail != nil {
		return session.Session{}, w.fail
	}
	return w.Store.Touch(ctx, id, coalesce)
}

func (w *world) Admit(ctx context.Context, n session.New, coalesce time.Duration) (session.Session, []string, error) {
	w.asks.Add(1)
	if w.fail != nil {
		return session.Session{}, nil, w.fail
	}
	return w.Store.Admit(ctx, n, coalesce)
}

// login begins an own session and returns its token.
func (w *world) login() *identity.Identity {
	w.t.Helper()
	id := session.NewID()
	_, _, err := w.Create(w.t.Context(), session.New{
		ID: id, Owner: session.Owner{Subject: "ada"}, Device: session.NewDevice(agent, address), Refresh: session.NewRefresh(id),
		Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, WhenFull: session.EvictOldest},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": id}}
}

// ended is a sink of session_evicted events.
type ended []event.Event

func (e *ended) Kinds() event.Kinds   { return event.Of(event.SessionEvicted) }
func (e *ended) Record(v event.Event) { *e = append(*e, v) }

// TestAnEvictedExternalSessionIsAnEvent: the event has the owner of the evicted session and the address of the new login.
func TestAnEvictedExternalSessionIsAnEvent(t *testing.T) {
	var got ended
	w := newWorld(t, func(c *session.Config) {
		c.Limits.WhenFull, c.Events = session.EvictOldest, event.NewStream("shop/orders", &got)
	})
	for _, sid := range []string{"one", "two", "three"} {
		w.want("", external(sid, "ada"))
		w.advance(time.Second)
	}
	want := event.Event{
		Kind: event.SessionEvicted, Outcome: event.Success, Policy: "shop/orders", ClientAddr: address,
		Actor: event.Actor{Issuer: foreign, Subject: "ada", Session: session.ExternalID(foreign, "one")},
	}
	if len(got) != 1 {
		t.Fatalf("events %+v", got)
	}
	if want.Time = got[0].Time; got[0] != want {
		t.Errorf("event %+v; want %+v", got[0], want)
	}
}

func external(sid, subject string) *identity.Identity {
	return &identity.Identity{Issuer: foreign, Subject: subject, Claims: map[string]any{"sid": sid}}
}

// send sends a request with an identity and returns the problem code, or "".
func (w *world) send(id *identity.Identity, change ...func(*http.Request, *request.Info)) string {
	w.t.Helper()
	info := &request.Info{Identity: id, ClientAddr: address}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("User-Agent", agent)
	r.Header.Set("X-User", "ada")
	for _, f := range change {
		f(r, info)
	}
	r = request.With(r, info)
	called := false
	h := w.Stage(stage.Func(func(http.ResponseWriter, *http.Request) error { called = true; return nil }))
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil || !called {
		w.t.Fatalf("ServeHTTP = %v, called next: %v; anonymous routes must work", err, called)
	}
	if info.AuthnErr == nil {
		return ""
	}
	if info.Identity != nil || r.Header.Get("X-User") != "" {
		w.t.Error("the identity of a refused request was not removed")
	}
	return string(info.AuthnErr.Code)
}

func (w *world) want(code string, id *identity.Identity, change ...func(*http.Request, *request.Info)) {
	w.t.Helper()
	if got := w.send(id, change...); got != code {
		w.t.Errorf("refused with %q; want %q", got, code)
	}
}

func none(*session.Config) {}

func TestOwnSessions(t *testing.T) {
	w := newWorld(t, none)
	token := w.login()
	w.want("", token)
	w.want("", nil)
	w.want("", &identity.Identity{Issuer: own, Subject: "service", Claims: map[string]any{}})
	w.want("session-missing", &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": "}:x"}})
	w.want("session-missing", &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": 7}})
	w.want("session-ended", &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": session.NewID()}})
	w.want("session-ended", &identity.Identity{Issuer: own, Subject: "eve", Claims: token.Claims})
	w.advance(time.Hour)
	w.want("session-ended", token)
}

func TestUseKeepsASessionAlive(t *testing.T) {
	w := newWorld(t, none)
	token := w.login()
	for range 24*4 - 1 {
		w.advance(15 * time.Minute)
		w.want("", token)
	}
	w.advance(15 * time.Minute) // the absolute timeout
	w.want("session-ended", token)
}

func TestLookupsAreCached(t *testing.T) {
	w := newWorld(t, none)
	token := w.login()
	for range 100 {
		w.want("", token)
		w.advance(session.DefaultCacheFor / 10)
	}
	if got := w.asks.Load(); got != 10 {
		t.Errorf("%d lookups in a hundred requests; want ten", got)
	}
	ended := &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": session.NewID()}}
	before := w.asks.Load()
	for range 10 {
		w.want("session-ended", ended)
	}
	if got := w.asks.Load() - before; got != 1 {
		t.Errorf("%d lookups of a session that has ended", got)
	}
}

func TestAnEndIsKnownWithinCacheFor(t *testing.T) {
	w := newWorld(t, none)
	token := w.login()
	w.want("", token)
	sid, _ := token.Claims["sid"].(string)
	if _, err := w.End(t.Context(), sid); err != nil {
		t.Fatal(err)
	}
	w.advance(session.DefaultCacheFor)
	w.want("session-ended", token)
}

func TestStoreUnavailable(t *testing.T) {
	unavailable := errors.New("unavailable")
	tests := map[string]struct {
		onFailure session.OnFailure
		want      string
	}{
		"deny":  {session.Deny, "session-unavailable"},
		"allow": {session.Allow, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *session.Config) { c.OnFailure = tt.onFailure })
			token := w.login()
			w.want("", token)
			w.fail = unavailable
			w.want("", token) // remembered
			w.advance(session.DefaultCacheFor)
			w.want(tt.want, token)
			w.want(tt.want, external("s1", "ada"))
			w.fail = nil
			w.want("", token)
		})
	}
}

func TestShadow(t *testing.T) {
	for name, policy := range map[string]bool{"rule": false, "policy": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *session.Config) { c.Shadow = !policy })
			var info *request.Info
			w.want("", &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": session.NewID()}},
				func(_ *http.Request, i *request.Info) { i.Shadow = policy; info = i })
			if info.Identity == nil || len(info.Decisions) != 1 || !info.Decisions[0].Shadow || info.Decisions[0].Err.Code != "session-ended" {
				t.Errorf("recorded %+v", info.Decisions)
			}
		})
	}
}

func TestBinding(t *testing.T) {
	elsewhere := func(_ *http.Request, i *request.Info) { i.ClientAddr = netip.MustParseAddr("192.0.2.9") }
	updated := func(r *http.Request, _ *request.Info) {
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:129.0) Gecko/20100101 Firefox/129.0")
	}
	other := func(r *http.Request, _ *request.Info) { r.Header.Set("User-Agent", "curl/8.5.0") }
	tests := map[string]struct {
		bind   session.Bind
		change func(*http.Request, *request.Info)
		want   string
	}{
		"none":                        {session.BindNone, other, ""},
		"browser update":              {session.BindUserAgent, updated, ""},
		"another agent":               {session.BindUserAgent, other, "session-device"},
		"same agent, another address": {session.BindUserAgent, elsewhere, ""},
		"another address":             {session.BindAddress, elsewhere, "session-device"},
		"another agent, same address": {session.BindAddress, other, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *session.Config) { c.Bind = tt.bind })
			token := w.login()
			w.want("", token)
			w.want(tt.want, token, tt.change)
		})
	}
}

func TestExternalSessions(t *testing.T) {
	w := newWorld(t, none)
	w.want("", external("s1", "ada"))
	w.want("", external("s2", "ada"))
	w.want("session-limit", external("s3", "ada"))
	w.want("", external("s4", "bob"))
	w.want("session-ended", external("s1", "bob")) // another's session
	w.want("session-missing", &identity.Identity{Issuer: foreign, Subject: "ada", Claims: map[string]any{}})
	w.want("session-missing", &identity.Identity{Issuer: foreign, Claims: map[string]any{"sid": "s9"}})
	w.advance(time.Hour)
	w.want("session-ended", external("s1", "ada"))
	again := external("s1", "ada")
	again.Claims["auth_time"] = json.Number(strconv.FormatInt(w.time().Unix()+1, 10))
	w.want("", again) // a new login, though the refusal of the old one is remembered
	sessions, err := w.List(t.Context(), session.Owner{Issuer: foreign, Subject: "ada"})
	if err != nil || len(sessions) != 1 || sessions[0].Device.Browser != "Firefox" {
		t.Errorf("listed %+v, %v", sessions, err)
	}
}

func TestExternalSessionsBySubject(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.SubjectFrom = session.FromSub })
	token := &identity.Identity{Issuer: foreign, Subject: "ada", IssuedAt: w.time(), Claims: map[string]any{}}
	w.want("", token)
	w.advance(2 * time.Hour)
	w.want("session-ended", token)
	later := *token
	later.IssuedAt = w.time()
	w.want("", &later)
}

func TestOtherIssuersHaveNoSessions(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.SubjectFrom, c.Limits = session.FromNone, session.Limits{} })
	w.want("", &identity.Identity{Issuer: foreign, Subject: "ada", Claims: map[string]any{}})
	if got := w.asks.Load(); got != 0 {
		t.Errorf("%d lookups", got)
	}
}

func TestConcurrentRequestsLookUpOnce(t *testing.T) {
	w := newWorld(t, none)
	token := w.login()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { w.want("", token) })
	}
	wg.Wait()
	if got := w.asks.Load(); got > 5 {
		t.Errorf("%d lookups for fifty concurrent requests", got)
	}
}

func TestNewStageRefuses(t *testing.T) {
	tests := map[string]func(*session.Config){
		"no store":                  func(c *session.Config) { c.Store = nil },
		"no StripCredentials":       func(c *session.Config) { c.StripCredentials = nil },
		"a claim":                   func(c *session.Config) { c.SubjectFrom = "email" },
		"no limits":                 func(c *session.Config) { c.Limits = session.Limits{} },
		"no onFailure":              func(c *session.Config) { c.OnFailure = "" },
		"a negative interval":       func(c *session.Config) { c.CacheFor = -1 },
		"a negative size":           func(c *session.Config) { c.CacheSize = -1 },
		"no binding":                func(c *session.Config) { c.Bind = "" },
		"a realm with a line break": func(c *session.Config) { c.Realm = "a\nb" },
	}
	for name, change := range tests {
		c := session.Config{
			Store: sessionmemory.New(sessionmemory.Config{}), Bind: session.BindNone, OnFailure: session.Deny, SubjectFrom: session.FromSID,
			Limits:           session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, WhenFull: session.Reject},
			StripCredentials: func(http.Header) {},
		}
		if _, err := session.NewStage(c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := session.NewStage(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
