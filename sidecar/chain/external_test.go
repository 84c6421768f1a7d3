package chain

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// keeping is a policy with tokens of its own that keeps sessions of a provider's.
func keeping(i issuer, from string, change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Providers, p.Sessions.SubjectFrom = policy(i).Providers, from
		if change != nil {
			change(p)
		}
	})
}

// logout ends the session of an access token.
func (s *sidecar) logout(t tokens) {
	s.world.t.Helper()
	if g := s.send(sent{method: "POST", path: "/auth/logout", bearer: t.access}); g.status != 204 {
		s.world.t.Fatalf("logging out: %d %s", g.status, g.text)
	}
}

// TestExternalSessionsAreIntrospected: a token whose session was ended is good for nothing, and the app is told so, until its session
// has begun anew.
func TestExternalSessionsAreIntrospected(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(keeping(i, "sub", nil)).ready()
	at := func(login time.Time) tokens {
		return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "auth_time": login.Unix()})}
	}
	want := func(when string, tok tokens, active bool) {
		t.Helper()
		if g := s.loopback("POST", "/v1/introspect", `{"token":"`+tok.access+`"}`); g.json["active"] != active {
			t.Errorf("%s: %d %s", when, g.status, g.text)
		}
	}
	first := at(time.Now().Add(-time.Hour))
	want("before its first request", first, true)
	s.use(first)
	want("after it", first, true)
	s.logout(first)
	want("after a logout", first, false)
	time.Sleep(1100 * time.Millisecond)
	second := at(time.Now())
	if g := s.use(second); g.status != 200 {
		t.Fatalf("another login: %d %s", g.status, g.text)
	}
	want("after another login", second, true)
}

// TestEverySecondLogoutCounts: a session that has begun anew under the same id can be ended as the first one could, with the
// streams that are open.
func TestEverySecondLogoutCounts(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(keeping(i, "sub", nil)).ready()
	for n := range 3 {
		time.Sleep(1100 * time.Millisecond)
		ada := tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "auth_time": time.Now().Unix()})}
		stream := s.stream(ada)
		s.logout(ada)
		if g := s.use(ada); g.status != 401 || g.code() != "session-ended" {
			t.Errorf("logout %d: %d %s", n+1, g.status, g.text)
		}
		wantEnd(t, fmt.Sprint("logout ", n+1), stream)
	}
}

// TestARevokedSubjectEndsExternalSessions: also where a token is of a later date than what was revoked, and at once.
func TestARevokedSubjectEndsExternalSessions(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(keeping(i, "sid", nil)).ready()
	of := func(sid string) tokens {
		return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": sid, "iat": time.Now().Unix()})}
	}
	s.use(of("old"))
	before := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(before.Add(100 * time.Millisecond)))
	old, later := of("old"), of("later")
	stream := s.stream(old)
	s.use(later)
	body := fmt.Sprintf(`{"subject":"ada","issued_before":%q}`, before.UTC().Format(time.RFC3339))
	if g := s.loopback("POST", "/v1/revocations", body); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	if g := s.use(old); g.status != 401 || g.code() != "session-ended" {
		t.Errorf("the session from before: %d %s", g.status, g.text)
	}
	if g := s.use(later); g.status != 200 {
		t.Errorf("a later one: %d %s", g.status, g.text)
	}
	wantEnd(t, "the revocation", stream)
}

// TestALogoutCountsWhereRevocationIsTried: it is somebody's wish and no rule.
func TestALogoutCountsWhereRevocationIsTried(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(keeping(i, "sid", func(p *compiled.Policy) { p.Revocation.Mode = compiled.Shadow })).ready()
	ada := tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": "s1"})}
	s.use(ada)
	s.logout(ada)
	if g := s.use(ada); g.status != 401 || g.code() != "session-ended" {
		t.Errorf("%d %s", g.status, g.text)
	}
}
