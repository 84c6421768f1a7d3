package token_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token"
)

// recorded is a RevocationChecker of what a World has recorded.
type recorded struct{ *logintest.World }

func (r *recorded) Revoked(ctx context.Context, q *revocation.Query) (bool, error) {
	if r.World == nil {
		return false, nil
	}
	entries := slices.Collect(maps.Values(r.Revocations.Entries()))
	return revocation.Known{Listed: revocation.NewListed(entries, r.Now)}.Revoked(ctx, q)
}

// revokingWorld is a World whose login service checks what a Revoker with another clock has revoked. The clock is set to a fraction
// of a second.
func revokingWorld(t *testing.T, fraction, skew time.Duration) (*logintest.World, *recorded, *token.Revoker) {
	t.Helper()
	known := &recorded{}
	w := logintest.New(t, logintest.Options{Revoked: known, Grace: time.Minute})
	known.World = w
	now := time.Now()
	w.Offset = now.Truncate(time.Second).Add(fraction).Sub(now)
	r, err := token.NewRevoker(token.RevokerConfig{
		Issuers:  []token.TrustedIssuer{{Issuer: logintest.Issuer, Own: true, Lifetime: time.Minute, SessionLifetime: time.Hour}},
		Sessions: w.SessionManager, Revocations: w.Revocations, Now: func() time.Time { return w.Now().Add(skew) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, known, r
}

// alive reports whether a token is accepted by those who know every revocation.
func alive(t *testing.T, known *recorded, s token.Tokens) bool {
	t.Helper()
	_, claims := logintest.Decode(t, s.Token)
	issued, ok := claims["iat"].(float64)
	if !ok {
		t.Fatalf("claims %v", claims)
	}
	q := revocation.Query{Issuer: logintest.Issuer, TokenID: s.ID, Session: s.Session.ID, Subject: s.Session.Subject, KeyID: s.KeyID, IssuedAt: time.Unix(int64(issued), 0)}
	revoked, err := known.Revoked(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	return !revoked
}

// TestLoginRightAfterRevocation: after "revoke all of a subject", every earlier session has ended with its tokens, and the next login
// lives, in any part of a second and with clocks that differ.
func TestLoginRightAfterRevocation(t *testing.T) {
	for _, fraction := range []time.Duration{0, time.Millisecond, 400 * time.Millisecond, 700 * time.Millisecond} {
		for _, skew := range []time.Duration{-4 * time.Second, 0, 4 * time.Second} {
			for _, explicit := range []bool{false, true} {
				t.Run(fmt.Sprint(fraction, skew, explicit), func(t *testing.T) {
					w, known, r := revokingWorld(t, fraction, skew)
					before := w.Login(t, "ada")
					refreshed, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(before), logintest.Chrome())
					if err != nil {
						t.Fatal(err)
					}
					e := revocation.Entry{Kind: revocation.Subject, Value: "ada"}
					if explicit && skew == 0 {
						e.Before = w.Now()
					}
					if _, err := r.Revoke(t.Context(), e); err != nil {
						t.Fatal(err)
					}
					if alive(t, known, before) || alive(t, known, refreshed) {
						t.Error("a token from before is accepted")
					}
					if _, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(refreshed), logintest.Chrome()); !errors.Is(err, token.ErrGrant) {
						t.Errorf("refreshing the session from before: %v", err)
					}
					after := w.Login(t, "ada")
					if !alive(t, known, after) {
						t.Error("the new login is dead on arrival")
					}
					if next, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(after), logintest.Chrome()); err != nil || !alive(t, known, next) {
						t.Errorf("refreshing the new login: %v", err)
					}
				})
			}
		}
	}
}

// TestNoLoginIsDeadOnArrival: Begin and Refresh return no token that this sidecar would refuse.
func TestNoLoginIsDeadOnArrival(t *testing.T) {
	add := func(t *testing.T, w *logintest.World, e revocation.Entry) {
		t.Helper()
		e.Issuer, e.Expires = logintest.Issuer, time.Now().Add(time.Hour)
		if _, err := w.Revocations.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("revoked up to the future", func(t *testing.T) {
		w, _, _ := revokingWorld(t, 0, 0)
		add(t, w, revocation.Entry{Kind: revocation.Subject, Value: "ada", Before: w.Now().Add(time.Minute)})
		if _, err := w.LoginService.Begin(t.Context(), token.Login{Subject: "ada"}); !errors.Is(err, token.ErrRevoked) {
			t.Errorf("error = %v", err)
		}
		w.Offset += time.Minute + time.Second
		if _, err := w.LoginService.Begin(t.Context(), token.Login{Subject: "ada"}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("revoked earlier in this second", func(t *testing.T) {
		w, known, _ := revokingWorld(t, 500*time.Millisecond, 0)
		add(t, w, revocation.Entry{Kind: revocation.Subject, Value: "ada", Before: w.Now().Add(-time.Millisecond)})
		s := w.Login(t, "ada")
		if !alive(t, known, s) {
			t.Error("dead on arrival")
		}
		if next, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(s), logintest.Chrome()); err != nil || !alive(t, known, next) {
			t.Errorf("refreshing it: %v", err)
		}
	})
	t.Run("the key is revoked", func(t *testing.T) {
		w, _, _ := revokingWorld(t, 0, 0)
		s := w.Login(t, "ada")
		add(t, w, revocation.Entry{Kind: revocation.Key, Value: s.KeyID})
		_, err := w.LoginService.Begin(t.Context(), token.Login{Subject: "bob"})
		if err == nil || errors.Is(err, signing.ErrNoKey) || errors.Is(err, token.ErrRevoked) {
			t.Errorf("login: %v", err)
		}
		if _, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(s), logintest.Chrome()); err == nil || errors.Is(err, token.ErrGrant) {
			t.Errorf("refresh: %v", err)
		}
		if active, err := w.LoginService.Active(t.Context(), s.Session.ID); err != nil || !active {
			t.Errorf("the session has ended: %v", err)
		}
	})
}
