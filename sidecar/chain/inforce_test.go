package chain

import (
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestADocumentThatIsRefusedChangesNothing: one that was built and not activated, as where a port that it takes over is in
// use, ends no session and no stream, and shortens nothing.
func TestADocumentThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	s := newWorld(t).sidecar(loginPolicy(nil)).ready()
	ada := s.login("ada")
	stream := s.stream(ada)
	refused, err := Build(loginPolicy(func(p *compiled.Policy) {
		p.Sessions.IdleTimeout = compiled.Duration(time.Second)
		p.RevokedTokens = []compiled.RevokedTokens{
			{Name: "t", Kind: compiled.RevokedToken, Issuer: ownIssuer, Value: claim(t, ada.access, "jti"), Expires: time.Now().Add(time.Hour).Unix()},
			{Name: "s", Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: "ada", Before: time.Now().Unix() + 5, Expires: time.Now().Add(time.Hour).Unix()},
		}
	}), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-stream:
		t.Error("the stream has ended")
	case <-time.After(2500 * time.Millisecond): // two looks, and more than the shorter timeout
	}
	refused.Close()
	if g := s.use(ada); g.status != 200 {
		t.Errorf("using it: %d %s", g.status, g.text)
	}
	if g := s.refresh(ada); g.status != 200 {
		t.Errorf("refreshing it: %d %s", g.status, g.text)
	}
}

// TestStreamsOfShadowEndUnderEnforce: what was let in while a rule was tried is judged when it is enforced.
func TestStreamsOfShadowEndUnderEnforce(t *testing.T) {
	t.Parallel()
	document := func(mode compiled.Mode) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) { p.Revocation.Mode = mode })
	}
	s := newWorld(t).sidecar(document(compiled.Shadow)).ready()
	ada := s.login("ada")
	stream := s.stream(ada)
	s.apply(document(compiled.Enforce))
	s.logout(ada)
	wantEnd(t, "the logout", stream)
}

// TestWhatIdledOutStaysSo: a session that ended by a timeout, which is longer again, is dead, or else it is listed and can be
// ended; nobody is left with one that no list has.
func TestWhatIdledOutStaysSo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	for store, addr := range map[string]string{"redis": server.Addr, "memory": ""} {
		t.Run(store, func(t *testing.T) {
			s := newWorld(t).sidecar(idlingAfter(time.Hour, addr)).ready()
			ada := s.login("ada")
			s.apply(idlingAfter(time.Second, addr))
			time.Sleep(1100 * time.Millisecond)
			s.loopback("GET", "/v1/subjects/ada/sessions", "")
			s.apply(idlingAfter(time.Hour, addr))
			if g := s.loopback("DELETE", "/v1/subjects/ada/sessions", ""); g.status != 200 {
				t.Fatalf("ending all: %d %s", g.status, g.text)
			}
			if use, refresh := s.use(ada), s.refresh(ada); use.status != 401 || refresh.status != 400 {
				t.Errorf("after all were ended: %d, and a refresh %d", use.status, refresh.status)
			}
		})
	}
}
