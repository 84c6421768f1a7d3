package chain

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// claims signs a token of the provider with these claims.
func (i issuer) claims(t testing.TB, typ string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iss": "https://id.example.com", "aud": "orders", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for name, v := range claims {
		all[name] = v
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	token.Header["kid"], token.Header["typ"] = "k", typ
	signed, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// logoutToken returns a logout token of OpenID Connect Back-Channel Logout.
func (i issuer) logoutToken(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	return i.claims(t, "logout+jwt", claims)
}

// providerPolicy accepts only tokens of i.
func providerPolicy(i issuer, change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Providers = policy(i).Providers
		p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
		p.Tokens, p.Sessions, p.Revocation = nil, nil, nil
		if change != nil {
			change(p)
		}
	})
}

// TestBackChannelLogout: the effect with each sessions.subjectFrom, on the sidecar that received the logout and on another one.
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	sessions := func(from string) *compiled.Sessions {
		s := loginPolicy(nil).Sessions
		s.SubjectFrom = from
		return s
	}
	revoking := loginPolicy(nil).Revocation
	tests := map[string]struct {
		change func(*compiled.Policy)
		logout jwt.MapClaims
		// wantOther: another session of the user is ended, too.
		wantOther bool
	}{
		"no sessions":             {logout: jwt.MapClaims{"sid": "s1"}},
		"no sessions, by sub":     {logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"sessions of sid":         {change: func(p *compiled.Policy) { p.Sessions = sessions("sid") }, logout: jwt.MapClaims{"sid": "s1", "sub": "ada"}},
		"sessions of sid, by sub": {change: func(p *compiled.Policy) { p.Sessions = sessions("sid") }, logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"sessions of sub":         {change: func(p *compiled.Policy) { p.Sessions = sessions("sub") }, logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"with own tokens": {change: func(p *compiled.Policy) {
			own := loginPolicy(nil)
			p.Tokens, p.Sessions, p.Revocation = own.Tokens, own.Sessions, own.Revocation
		}, logout: jwt.MapClaims{"sid": "s1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			document := func() *compiled.Policy {
				return providerPolicy(i, func(p *compiled.Policy) {
					onRedis(p, server.Addr)
					p.Revocation = revoking
					if tt.change != nil {
						tt.change(p)
					}
				})
			}
			server.Do("FLUSHALL")
			here, there := w.sidecar(document()).ready(), w.sidecar(document()).ready()
			of := func(sub, sid string) tokens {
				return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": sub, "sid": sid, "jti": sid, "iat": time.Now().Unix() - 10})}
			}
			ada, other, bob := of("ada", "s1"), of("ada", "s2"), of("bob", "s3")
			for _, s := range []*sidecar{here, there} {
				for who, token := range map[string]tokens{"ada": ada, "another of ada's": other, "bob": bob} {
					if g := s.use(token); g.status != 200 {
						t.Fatalf("%s before: %d %s", who, g.status, g.text)
					}
				}
			}
			tt.logout["jti"] = name
			header, body := form("logout_token", i.logoutToken(t, tt.logout))
			post := sent{method: "POST", path: "/auth/backchannel-logout", header: header, body: body}
			if g := here.send(post); g.status != 200 || g.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("logging out: %d %s", g.status, g.text)
			}
			if g := there.send(post); g.status != 400 {
				t.Errorf("the same token again, on the other sidecar: %d", g.status)
			}
			for _, s := range []*sidecar{here, there} {
				redistest.Eventually(t, "the session to end", func() bool { return s.use(ada).status == 401 })
				if got := s.use(other).status; (got == 401) != tt.wantOther {
					t.Errorf("another session: %d", got)
				}
				if g := s.use(bob); g.status != 200 {
					t.Errorf("bob: %d %s", g.status, g.text)
				}
			}
		})
	}
}

// TestAProvidersSessionEndsAtOnce: a user who ends the session of an external issuer's token ends it on every sidecar, also
// where it is cached. The user can then start another session.
func TestAProvidersSessionEndsAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	document := func() *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Providers, p.Sessions.SubjectFrom = policy(i).Providers, "sub"
		})
	}
	here, there := w.sidecar(document()).ready(), w.sidecar(document()).ready()
	at := func(age time.Duration) tokens {
		return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "auth_time": time.Now().Add(-age).Unix()})}
	}
	ada := at(time.Hour)
	for _, s := range []*sidecar{here, there} {
		if g := s.use(ada); g.status != 200 {
			t.Fatalf("before: %d %s", g.status, g.text)
		}
	}
	if g := here.send(sent{method: "POST", path: "/auth/logout-all", bearer: ada.access}); g.status != 204 {
		t.Fatalf("logging out: %d %s", g.status, g.text)
	}
	began := time.Now()
	for _, s := range []*sidecar{here, there} {
		redistest.Eventually(t, "the session to end", func() bool { return s.use(ada).status == 401 })
		if g := s.use(ada); g.code() != "session-ended" {
			t.Errorf("afterwards: %d %s", g.status, g.text)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	time.Sleep(1100 * time.Millisecond) // login times have whole seconds
	for _, s := range []*sidecar{here, there} {
		if g := s.use(at(0)); g.status != 200 {
			t.Errorf("after another login: %d %s", g.status, g.text)
		}
	}
}

// TestTheAppRevokesAProvidersToken: the app revokes an external token on both sidecars, with a policy that issues no tokens
// itself.
func TestTheAppRevokesAProvidersToken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, i := newWorld(t), newIssuer(t)
	document := func() *compiled.Policy {
		return providerPolicy(i, func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.Revocation = loginPolicy(nil).Revocation
			p.Providers[0].RequiredClaims = []compiled.RequiredClaim{{Claim: "tenant"}}
		})
	}
	here, there := w.sidecar(document()).ready(), w.sidecar(document()).ready()
	of := func(jti string, more jwt.MapClaims) tokens {
		claims := jwt.MapClaims{"sub": "ada", "jti": jti, "tenant": "acme"}
		for name, value := range more {
			claims[name] = value
		}
		return tokens{access: i.claims(t, "JWT", claims)}
	}
	first, second, stranger := of("1", nil), of("2", nil), of("3", jwt.MapClaims{"tenant": nil})
	ask := func(s *sidecar, path string, t tokens) got {
		return s.loopback("POST", path, `{"token":"`+t.access+`"}`)
	}
	for name, tt := range map[string]struct {
		token tokens
		want  bool
	}{"good": {first, true}, "another tenant's token, which requests cannot use": {stranger, false}} {
		if g := ask(here, "/v1/introspect", tt.token); g.status != 200 || g.json["active"] != tt.want {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
	if g := ask(here, "/v1/revoke", first); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	for _, s := range []*sidecar{here, there} {
		redistest.Eventually(t, "the token to be refused", func() bool { return s.use(first).code() == "token-revoked" })
		if g := s.use(second); g.status != 200 {
			t.Errorf("another token: %d %s", g.status, g.text)
		}
		if g := ask(s, "/v1/introspect", first); g.json["active"] != false {
			t.Errorf("introspection: %s", g.text)
		}
	}
}

// keeping is a policy that issues tokens and has external sessions of a provider.
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

// TestExternalSessionsAreIntrospected: a token whose session was ended is inactive until its session has started again.
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

// TestSessionCanBeEndedAgain: a session that started again under the same id can be ended again, with its open streams.
func TestSessionCanBeEndedAgain(t *testing.T) {
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

// TestARevokedSubjectEndsExternalSessions: sessions from before the given time end at once, also if their token is newer. Later
// sessions continue.
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
		t.Errorf("the session before the revocation: %d %s", g.status, g.text)
	}
	if g := s.use(later); g.status != 200 {
		t.Errorf("a later session: %d %s", g.status, g.text)
	}
	wantEnd(t, "the revocation", stream)
}

// TestLogoutAppliesInShadowMode: shadow mode applies to rules; a logout is a request of the user and always applies.
func TestLogoutAppliesInShadowMode(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(keeping(i, "sid", func(p *compiled.Policy) { p.Revocation.Mode = compiled.Shadow })).ready()
	ada := tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": "s1"})}
	s.use(ada)
	s.logout(ada)
	if g := s.use(ada); g.status != 401 || g.code() != "session-ended" {
		t.Errorf("%d %s", g.status, g.text)
	}
}
