package appapi

import (
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

// alice has a token of corp.
func alice(jti string) *identity.Identity {
	expires := time.Now().Add(10 * time.Hour).Truncate(time.Second)
	return &identity.Identity{
		Issuer: corp, Subject: "alice", TokenID: jti, Expires: expires, Claims: map[string]any{"iss": corp, "sub": "alice", "jti": jti},
	}
}

// TestProvidersTokens: the app introspects and revokes tokens of an accepted external issuer in the same way as our own.
func TestProvidersTokens(t *testing.T) {
	w := newWorld(t, passwords{})
	good := alice("j1")
	w.verifier.corp = map[string]*identity.Identity{"good": good, "nameless": alice("")}
	if status, response := w.call(t, "POST", "/v1/introspect", object{"token": "good"}); status != 200 || response["active"] != true || response["sub"] != "alice" || response["token_type"] != "Bearer" {
		t.Errorf("introspection: %d %v", status, response)
	}
	if good.Claims["active"] != nil {
		t.Error("introspection changed the shared claims of the token")
	}
	if status, response := w.call(t, "POST", "/v1/revoke", object{"token": "good"}); status != 200 {
		t.Errorf("revoking: %d %v", status, response)
	}
	want := revocation.Entry{Kind: revocation.Token, Issuer: corp, Value: "j1", Expires: good.Expires.Add(time.Hour)}
	if len(w.revocations.entries) != 1 || w.revocations.entries[0] != want {
		t.Errorf("revoked %+v; want %+v", w.revocations.entries, want)
	}
	if status, response := w.call(t, "POST", "/v1/introspect", object{"token": "good"}); status != 200 || response["active"] != false || len(response) != 1 {
		t.Errorf("introspection of a revoked token: %d %v", status, response)
	}
	if status, response := w.call(t, "POST", "/v1/revoke", object{"token": "nameless"}); status != 422 {
		t.Errorf("revoking a token without jti: %d %v", status, response)
	}
	good.Expires = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if status, response := w.call(t, "POST", "/v1/revoke", object{"token": "good"}); status != 200 {
		t.Errorf("revoking a token without exp: %d %v", status, response)
	}
	w.verifier.err = errUnavailable
	for _, path := range []string{"/v1/introspect", "/v1/revoke"} {
		if status, _ := w.call(t, "POST", path, object{"token": "good"}); status != 503 {
			t.Errorf("%s without the issuer's keys: %d", path, status)
		}
	}
}

// TestProvidersSessions: external sessions can be listed and ended, also in a policy that issues no tokens.
func TestProvidersSessions(t *testing.T) {
	for name, own := range map[string]bool{"with own tokens": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passwords{})
			if !own {
				sessionManager, err := token.NewSessionManager(token.SessionManagerConfig{
					Scope: "shop/orders", Sessions: w.sessions, Revocations: w.revocations, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					t.Fatal(err)
				}
				w.config.LoginService, w.config.SessionManager = nil, sessionManager
				if w.Handler, err = New(w.config); err != nil {
					t.Fatal(err)
				}
			}
			first, second := w.admit(t, "s1"), w.admit(t, "s2")
			path := "/v1/subjects/alice/sessions?issuer=" + url.QueryEscape(corp)
			if status, response := w.call(t, "GET", path, nil); status != 200 || len(response["sessions"].([]any)) != 2 {
				t.Errorf("listing: %d %v", status, response)
			}
			if status, _ := w.call(t, "DELETE", "/v1/sessions/"+first, nil); status != 204 {
				t.Errorf("ending one: %d", status)
			}
			if status, response := w.call(t, "DELETE", path, nil); status != 200 || response["ended"] != 1.0 {
				t.Errorf("ending all: %d %v", status, response)
			}
			for i, id := range []string{first, second} {
				if e := w.revocations.entries[i]; e.Issuer != token.ExternalSessionIssuer("shop/orders") || e.Value != id || e.Kind != revocation.Subject || e.Before.IsZero() {
					t.Errorf("revocations %+v", e)
				}
			}
			if status, response := w.call(t, "GET", "/v1/subjects/alice/sessions?issuer=https://other.example", nil); status != 422 {
				t.Errorf("an issuer that is not accepted: %d %v", status, response)
			}
			want := http.StatusOK
			if !own {
				want = http.StatusUnprocessableEntity
			}
			if status, response := w.call(t, "GET", "/v1/subjects/alice/sessions", nil); status != want {
				t.Errorf("without an issuer: %d %v; want %d", status, response, want)
			}
		})
	}
}

// admit adds an external session for alice at corp, and returns its id.
func (w *world) admit(t *testing.T, sid string) string {
	t.Helper()
	n := session.New{
		ID: session.ExternalID(corp, sid), Owner: session.Owner{Issuer: corp, Subject: "alice"},
		Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, WhenFull: session.Reject},
	}
	if _, _, err := w.sessions.Admit(t.Context(), n, 0); err != nil {
		t.Fatal(err)
	}
	return n.ID
}
