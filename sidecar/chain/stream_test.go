package chain

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// stream opens a long response, and returns a channel that is closed when it has ended.
func (s *sidecar) stream(t tokens) <-chan struct{} {
	s.world.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.world.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/orders?stream", nil)
	if err != nil {
		s.world.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+t.access)
	res, err := roundTripper.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK {
		s.world.t.Fatalf("opening a stream: %v, %+v", err, res)
	}
	time.Sleep(200 * time.Millisecond) // if the first check refuses, the stream gets half a minute
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	return ended
}

// wantEnd checks that the stream ends by itself.
func wantEnd(t *testing.T, what string, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(90 * time.Second): // on a busy machine the first check may be late
		t.Errorf("the stream continues after %s", what)
	}
}

// TestRevocationEndsStreams: a revocation also ends streams that started before, under any document.
func TestRevocationEndsStreams(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	document := func(revoked ...compiled.RevokedTokens) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.RevokedTokens = revoked
		})
	}
	s, elsewhere := newWorld(t).sidecar(document()).ready(), newWorld(t)
	other := elsewhere.sidecar(document()).ready() // has another key; it is only used to end sessions
	bob := s.stream(s.login("bob"))
	revocations := map[string]func(*testing.T, tokens){
		"the end of the session at another sidecar": func(t *testing.T, ada tokens) {
			if g := other.in(t).loopback("DELETE", "/v1/sessions/"+sid(t, ada.access), ""); g.status != http.StatusNoContent {
				t.Errorf("ending the session: %d %s", g.status, g.text)
			}
		},
		"logout": func(t *testing.T, ada tokens) {
			if g := s.in(t).send(sent{method: "POST", path: "/auth/logout", bearer: ada.access}); g.status != http.StatusNoContent {
				t.Errorf("logging out: %d %s", g.status, g.text)
			}
		},
		"a token that a later document names": func(t *testing.T, ada tokens) {
			s.in(t).apply(document(compiled.RevokedTokens{
				Name: "r", Kind: compiled.RevokedToken, Issuer: ownIssuer, Value: claim(t, ada.access, "jti"), Expires: time.Now().Add(time.Hour).Unix(),
			}))
		},
	}
	for name, revoke := range revocations {
		t.Run(name, func(t *testing.T) {
			ada := s.in(t).login("ada")
			stream := s.in(t).stream(ada)
			s.in(t).apply(document()) // the stream now belongs to an old document
			revoke(t, ada)
			wantEnd(t, name, stream)
		})
	}
	select {
	case <-bob:
		t.Error("another user's stream has ended")
	case <-time.After(2500 * time.Millisecond): // two checks
	}
}

// TestEndingAProvidersSessionEndsStreams: also streams of external tokens end.
func TestEndingAProvidersSessionEndsStreams(t *testing.T) {
	t.Parallel()
	w, i := newWorld(t), newIssuer(t)
	document := func() *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			p.Providers, p.Sessions.SubjectFrom = policy(i).Providers, "sid"
		})
	}
	s := w.sidecar(document()).ready()
	of := func(sid string) tokens {
		return tokens{access: i.claims(t, "JWT", jwt.MapClaims{"sub": sid, "sid": sid})}
	}
	ada, bob := of("ada"), of("bob")
	ended, goesOn := s.stream(ada), s.stream(bob)
	s.apply(document())
	if g := s.send(sent{method: "POST", path: "/auth/logout-all", bearer: ada.access}); g.status != 204 {
		t.Fatalf("logging out: %d %s", g.status, g.text)
	}
	wantEnd(t, "the end of the session", ended)
	select {
	case <-goesOn:
		t.Error("another user's stream has ended")
	case <-time.After(2500 * time.Millisecond): // two checks
	}
}

// TestShadowEndsNoStreams: in shadow mode a revocation ends no stream.
func TestShadowEndsNoStreams(t *testing.T) {
	t.Parallel()
	document := func(mode compiled.Mode) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) { p.Revocation.Mode = mode })
	}
	s := newWorld(t).sidecar(document(compiled.Enforce)).ready()
	ada := s.login("ada")
	stream := s.stream(ada)
	s.apply(document(compiled.Shadow))
	if g := s.loopback("POST", "/v1/revocations", fmt.Sprintf(`{"token_id":%q}`, claim(t, ada.access, "jti"))); g.status/100 != 2 {
		t.Fatalf("revoking: %d %s", g.status, g.text)
	}
	select {
	case <-stream:
		t.Error("the stream has ended")
	case <-time.After(2500 * time.Millisecond): // two checks
	}
	s.apply(document(compiled.Enforce))
	wantEnd(t, "the policy enforces the revocation", stream)
}

// TestNewLoginGetsItsResponse: a login request that ends the client's old session gets its own response, however slow it is.
func TestNewLoginGetsItsResponse(t *testing.T) {
	t.Parallel()
	for delivery, policyOf := range map[string]func(func(*compiled.Policy)) *compiled.Policy{"Body": loginPolicy, "Cookie": cookiePolicy} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			s := newWorld(t).sidecar(policyOf(nil)).ready()
			second := sent{method: "POST", path: "/login?as=ada&slow", host: ownHost}
			g := s.send(sent{method: "POST", path: "/login?as=ada", host: ownHost})
			second.bearer = g.field("access_token")
			for _, c := range g.cookies {
				second.cookies = append(second.cookies, c)
			}
			if g, err := s.try(second); err != nil || g.status != 200 {
				t.Errorf("%d, %v", g.status, err)
			}
		})
	}
}
