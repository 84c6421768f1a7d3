package chain

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// claims signs a token of the provider with these.
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

// logoutToken is one of OpenID Connect Back-Channel Logout.
func (i issuer) logoutToken(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	return i.claims(t, "logout+jwt", claims)
}

// providerPolicy accepts the tokens of i alone.
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

// TestBackChannelLogout: what each way of keeping sessions makes of it, on the sidecar that got it and on another one.
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
		// wantOther: another session of the person is ended too.
		wantOther bool
	}{
		"nothing is kept":         {logout: jwt.MapClaims{"sid": "s1"}},
		"nothing, by subject":     {logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"sessions of sid":         {change: func(p *compiled.Policy) { p.Sessions = sessions("sid") }, logout: jwt.MapClaims{"sid": "s1", "sub": "ada"}},
		"sessions of sid, by sub": {change: func(p *compiled.Policy) { p.Sessions = sessions("sid") }, logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"sessions of sub":         {change: func(p *compiled.Policy) { p.Sessions = sessions("sub") }, logout: jwt.MapClaims{"sub": "ada"}, wantOther: true},
		"beside tokens of our own": {change: func(p *compiled.Policy) {
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
				t.Errorf("the same token again, elsewhere: %d", g.status)
			}
			for _, s := range []*sidecar{here, there} {
				redistest.Eventually(t, "the end of the session", func() bool { return s.use(ada).status == 401 })
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

// TestAProvidersSessionEndsAtOnce: a person who ends the session of an external provider's token sees it end on every sidecar,
// also where it was seen a moment ago, and can begin another one.
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
		redistest.Eventually(t, "the session's end", func() bool { return s.use(ada).status == 401 })
		if g := s.use(ada); g.code() != "session-ended" {
			t.Errorf("afterwards: %d %s", g.status, g.text)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	time.Sleep(1100 * time.Millisecond) // logins have whole seconds
	for _, s := range []*sidecar{here, there} {
		if g := s.use(at(0)); g.status != 200 {
			t.Errorf("after another login: %d %s", g.status, g.text)
		}
	}
}

// TestTheAppRevokesAProvidersToken: with a policy that issues none itself, on both sidecars.
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
	}{"good": {first, true}, "of another tenant, which requests would not get through with": {stranger, false}} {
		if g := ask(here, "/v1/introspect", tt.token); g.status != 200 || g.json["active"] != tt.want {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
	if g := ask(here, "/v1/revoke", first); g.status != 200 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	for _, s := range []*sidecar{here, there} {
		redistest.Eventually(t, "the end of the token", func() bool { return s.use(first).code() == "token-revoked" })
		if g := s.use(second); g.status != 200 {
			t.Errorf("another token: %d %s", g.status, g.text)
		}
		if g := ask(s, "/v1/introspect", first); g.json["active"] != false {
			t.Errorf("introspection: %s", g.text)
		}
	}
}
