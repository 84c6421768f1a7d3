package token_test

import (
	"errors"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

// TestRevokingUpToNow: existing sessions and tokens end, also if the clock of this sidecar is behind the others.
func TestRevokingUpToNow(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	ada, bob := w.Login(t, "ada"), w.Login(t, "bob")
	r, err := token.NewRevoker(token.RevokerConfig{
		Issuers:  []token.TrustedIssuer{{Issuer: logintest.Issuer, Own: true, Lifetime: time.Minute, SessionLifetime: time.Hour}},
		Sessions: w.SessionManager, Revocations: w.Revocations, Now: func() time.Time { return time.Now().Add(-time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Revoke(t.Context(), revocation.Entry{Kind: revocation.Subject, Value: "ada"}); n != 1 || err != nil {
		t.Fatalf("revoked %d, %v", n, err)
	}
	if _, err := w.Sessions.Get(t.Context(), ada.Session.ID); !errors.Is(err, session.ErrEnded) {
		t.Errorf("the session continues: %v", err)
	}
	if !w.Revocations.Revoked(ada.Session.ID) {
		t.Error("its tokens, issued by a sidecar with a faster clock, are not revoked")
	}
	if _, err := w.Sessions.Get(t.Context(), bob.Session.ID); err != nil {
		t.Errorf("another user's session: %v", err)
	}
}

// TestRevokingLongLivedTokens: tokens and sessions that live longer than a store keeps a revocation are revoked for as long as it
// does.
func TestRevokingLongLivedTokens(t *testing.T) {
	const corp = "https://id.example.com"
	for name, lifetime := range map[string]time.Duration{"401 days": 401 * 24 * time.Hour, "the longest duration": 1<<63 - 1} {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			r, err := token.NewRevoker(token.RevokerConfig{
				Issuers:  []token.TrustedIssuer{{Issuer: corp, Lifetime: lifetime, SessionLifetime: lifetime}},
				Sessions: w.SessionManager, Revocations: w.Revocations,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []revocation.Kind{revocation.Token, revocation.Session, revocation.Subject, revocation.Key} {
				if n, err := r.Revoke(t.Context(), revocation.Entry{Kind: kind, Value: "x"}); n != 1 || err != nil {
					t.Errorf("%s: revoked %d, %v", kind, n, err)
				}
			}
		})
	}
}
