package token

import (
	"errors"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// TestRevokingUpToNow ends what there is, also where the clock of the sidecar is behind those of the others.
func TestRevokingUpToNow(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob := w.login(t, "ada"), w.login(t, "bob")
	r, err := NewRevoker(RevokerConfig{
		Trusted:  []Trusted{{Issuer: issuer, Own: true, Lifetime: time.Minute, SessionLifetime: time.Hour}},
		Sessions: w.sessionManager, Revocations: w.revocations, Now: func() time.Time { return time.Now().Add(-time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Revoke(t.Context(), revocation.Entry{Kind: revocation.Subject, Value: "ada"}); n != 1 || err != nil {
		t.Fatalf("revoked %d, %v", n, err)
	}
	if _, err := w.sessions.Get(t.Context(), ada.Session.ID); !errors.Is(err, session.ErrEnded) {
		t.Errorf("the session goes on: %v", err)
	}
	if !w.revocations.revoked(ada.Session.ID) {
		t.Error("its tokens, which a sidecar with another clock has dated, go on")
	}
	if _, err := w.sessions.Get(t.Context(), bob.Session.ID); err != nil {
		t.Errorf("a stranger's session: %v", err)
	}
}
