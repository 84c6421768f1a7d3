package chain

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// attemptEvents are the events LoginAttempt and ResetRequest.
type attemptEvents struct{ events }

func (*attemptEvents) Kinds() event.Kinds { return event.Of(event.LoginAttempt, event.ResetRequest) }

// newAttempts starts one sidecar in front of a passwordApp, with state in memory.
func newAttempts(t *testing.T, change func(*compiled.LoginProtection)) (*logins, *attemptEvents) {
	t.Helper()
	l := loginsOn(t, "", change)
	sink := &attemptEvents{}
	s := l.replicas[0]
	s.cfg.Sinks = []event.Sink{sink}
	s.apply(loginProtectionPolicy("", change))
	l.replicas = l.replicas[:1]
	return l, sink
}

func (l *logins) reset(email string) got {
	return l.send("/password/reset", "application/x-www-form-urlencoded", "email="+email, "198.51.100.1")
}

// TestAttemptEvents: each attempt to log in and each request for a new password has one event, with the account, the route and the result.
func TestAttemptEvents(t *testing.T) {
	t.Parallel()
	l, sink := newAttempts(t, func(p *compiled.LoginProtection) { p.PerAccount.Failures, p.ResetsPerAccount.Failures = 2, 1 })
	want := func(step, name, account, route string) {
		t.Helper()
		list, names := sink.take()
		if !slices.Equal(names, []string{name}) {
			t.Fatalf("%s: events %q; want %q", step, names, name)
		}
		e := list[0]
		if e.Account != account || e.Rule != route || e.Stage != "login-protection" || e.Subject != "" || e.ClientAddr.String() != "198.51.100.1" {
			t.Errorf("%s: %+v", step, e)
		}
	}
	try := func(email, password string) { l.attempt("198.51.100.1", email, password) }
	try("Bob@example.com ", "right")
	want("a login", "login_attempt success", "bob@example.com", "login")
	try("bob@example.com", "broken")
	want("an error of the app", "login_attempt failed app_error", "bob@example.com", "login")
	try("ada@example.com", "guess")
	want("a wrong password", "login_attempt refused wrong_password", "ada@example.com", "login")
	try("ADA@example.com", "guess")
	want("another", "login_attempt refused wrong_password", "ada@example.com", "login")
	try("ada@example.com", "right")
	want("a locked account", "login_attempt refused locked", "ada@example.com", "login")
	l.send("/login", "application/json", `{"email":"a","email":"b"}`, "198.51.100.1")
	want("an ambiguous body", "login_attempt refused unreadable", "", "login")
	l.reset("ada@example.com")
	want("a reset", "reset_request success", "ada@example.com", "reset")
	l.reset("ada@example.com")
	want("too many resets", "reset_request refused locked", "ada@example.com", "reset")
	try(strings.Repeat("x", 900), "guess")
	want("a long name", "login_attempt refused wrong_password", strings.Repeat("x", event.MaxText), "login")
	l.replicas[0].send(sent{method: "GET", path: "/login"})
	if _, names := sink.take(); len(names) > 0 {
		t.Errorf("a request that is no attempt has the events %q", names)
	}
}

// TestAttemptEventsInShadow: the refusal of an attempt that reaches the app nevertheless is the only event of the attempt.
func TestAttemptEventsInShadow(t *testing.T) {
	t.Parallel()
	l, sink := newAttempts(t, func(p *compiled.LoginProtection) { p.PerAccount.Failures, p.Mode = 1, compiled.Shadow })
	for range 2 {
		if g := l.attempt("198.51.100.1", "ada@example.com", "guess"); g.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", g.status, g.text)
		}
	}
	if _, names := sink.take(); !slices.Equal(names, []string{"login_attempt refused wrong_password", "login_attempt shadow locked"}) {
		t.Errorf("events %q", names)
	}
}
