package chain

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// events is a sink of all events except answered requests, whose event comes after the client has the response.
type events struct {
	mu   sync.Mutex
	list []event.Event
}

func (s *events) Kinds() event.Kinds { return ^event.Of(event.Request) }

func (s *events) Record(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, e)
}

// take returns the events since the last call, each as kind, outcome and reason.
func (s *events) take() (list []event.Event, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.list = s.list, nil
	for _, e := range list {
		names = append(names, strings.TrimSuffix(fmt.Sprint(e.Kind, " ", e.Outcome, " ", e.Reason), " "))
	}
	return list, names
}

// audited is a sidecar with a sink, and the tokens of its clients.
type audited struct {
	*sidecar
	t       *testing.T
	sink    *events
	secrets []string
}

func newAudited(t *testing.T) *audited {
	a := &audited{t: t, sink: &events{}}
	p := loginPolicy(func(p *compiled.Policy) {
		p.Tokens.RefreshGrace = 0
		p.Sessions.MaxPerSubject = 2
		p.RateLimits = []compiled.RateLimit{{
			Name: "few", Match: []compiled.Match{{Paths: []string{"/public/few"}}}, Limit: 1, Burst: 1, Period: compiled.Duration(time.Hour),
			KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: compiled.Deny,
		}}
	})
	a.sidecar = newWorld(t).sidecar(p).ready()
	a.cfg.Sinks = []event.Sink{a.sink}
	a.apply(p)
	return a
}

func (a *audited) login(subject string) tokens {
	t := a.sidecar.login(subject)
	a.secrets = append(a.secrets, t.access, t.refresh)
	return t
}

// want compares the events since the last call, and their origin: a request, or the app.
func (a *audited) want(step string, inRequest bool, names ...string) []event.Event {
	a.t.Helper()
	list, got := a.sink.take()
	if !slices.Equal(got, names) {
		a.t.Fatalf("%s: events %q; want %q", step, got, names)
	}
	for _, e := range list {
		if e.Policy != "shop/orders" || time.Since(e.Time) > time.Minute || e.ClientAddr.IsLoopback() != inRequest {
			a.t.Errorf("%s: %s of policy %q at %s from %s", step, e.Kind, e.Policy, e.Time, e.ClientAddr)
		}
		text := fmt.Sprintf("%+v", e)
		for _, secret := range a.secrets {
			if strings.Contains(text, secret) || strings.Contains(text, secret[len(secret)-20:]) {
				a.t.Errorf("%s: %s holds a token", step, e.Kind)
			}
		}
	}
	return list
}

// of compares the actor of an event.
func (a *audited) of(e event.Event, subject, session string) {
	a.t.Helper()
	if e.Subject != subject || e.Session != session {
		a.t.Errorf("%s is of %q in session %q; want %q in %q", e.Kind, e.Subject, e.Session, subject, session)
	}
}

// TestEvents performs logins and requests, and checks the events.
func TestEvents(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.want("activation", false, "policy_activated success")

	ada := a.login("ada")
	first := sid(t, ada.access)
	a.of(a.want("login", true, "login success")[0], "ada", first)

	a.use(ada)
	e := a.want("use", true, "token_verified success")[0]
	a.of(e, "ada", first)
	if e.Provider != compiled.OwnProvider || e.Issuer != ownIssuer || e.TokenID != claim(t, ada.access, "jti") {
		t.Errorf("use: %+v", e.Actor)
	}

	a.use(tokens{access: ada.access[:len(ada.access)-8] + "AAAAAAAA"})
	list := a.want("a forged token", true, "token_refused refused bad_signature", "authorization_refused refused invalid-token")
	a.of(list[0], "", "")

	a.send(sent{method: "GET", path: "/orders"})
	a.want("no token", true, "authorization_refused refused no-credentials")

	a.send(sent{method: "GET", path: "/public/few"})
	a.send(sent{method: "GET", path: "/public/few"})
	if e := a.want("a limit", true, "limit_hit refused rate-limited")[0]; e.Rule != "few" || e.Stage != "ratelimit" {
		t.Errorf("a limit: %+v", e)
	}
}

// TestEventsOfSessions: each end of a session causes one event, regardless of who ends it.
func TestEventsOfSessions(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	ada := a.login("ada")
	first := sid(t, ada.access)
	a.sink.take()

	g := a.refresh(ada)
	a.secrets = append(a.secrets, g.field("access_token"), g.field("refresh_token"))
	a.of(a.want("refresh", true, "refresh success rotated")[0], "ada", first)
	a.refresh(ada)
	list := a.want("a stolen refresh token", true, "refresh_reused refused", "refresh refused reused", "request_refused refused refresh-refused")
	a.of(list[0], "ada", first)

	second, third := a.login("ada"), a.login("ada")
	fourth := a.login("ada")
	list = a.want("three logins, with at most two sessions", true, "login success", "login success", "session_evicted success", "login success")
	a.of(list[2], "ada", sid(t, second.access))

	header := http.Header{"Authorization": {"Bearer " + third.access}}
	a.send(sent{method: "POST", path: "/auth/logout", header: header})
	list = a.want("logout", true, "token_verified success", "session_ended success", "logout success")
	a.of(list[1], "ada", sid(t, third.access)) // by the token of the request
	a.of(list[2], "ada", sid(t, third.access))

	if g := a.loopback("POST", "/v1/revocations", `{"subject":"ada"}`); g.status != 200 {
		t.Fatal(g.text)
	}
	list = a.want("a revocation by the app", false, "revocation success subject", "session_ended success", "admin success revoke")
	a.of(list[0], "ada", "")
	a.of(list[1], "ada", sid(t, fourth.access))

	a.use(fourth)
	list = a.want("a revoked token", true, "token_verified success", "authorization_refused refused token-revoked")
	a.of(list[1], "ada", sid(t, fourth.access))

	g = a.loopback("POST", "/v1/tokens", `{"subject":"bob","device":{}}`)
	if g.status != 200 {
		t.Fatal(g.text)
	}
	list = a.want("a login by the app", false, "login success", "admin success issue_tokens")
	a.of(list[0], "bob", g.field("session_id"))
	a.of(list[1], "bob", g.field("session_id"))
	a.send(sent{method: "POST", path: "/login?as=%20"})
	a.want("a login with an invalid subject", true, "login refused login-response-invalid", "request_refused refused login-response-invalid")
}
