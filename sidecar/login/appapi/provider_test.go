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

// TestProvidersTokens: the app asks about and revokes tokens that are not ours just as those that are.
func TestProvidersTokens(t *testing.T) {
	w := newWorld(t, passwords{})
	good := alice("j1")
	w.verifier.corp = map[string]*identity.Identity{"good": good, "nameless": alice("")}
	if status, answer := w.call(t, "POST", "/v1/introspect", object{"token": "good"}); status != 200 || answer["active"] != true || answer["sub"] != "alice" || answer["token_type"] != "Bearer" {
		t.Errorf("introspection: %d %v", status, answer)
	}
	if good.Claims["active"] != nil {
		t.Error("the response was written into the token's claims, which others read")
	}
	if status, answer := w.call(t, "POST", "/v1/revoke", object{"token": "good"}); status != 200 {
		t.Errorf("revoking: %d %v", status, answer)
	}
	want := revocation.Entry{Kind: revocation.Token, Issuer: corp, Value: "j1", Expires: good.Expires.Add(time.Hour)}
	if len(w.revocations.entries) != 1 || w.revocations.entries[0] != want {
		t.Errorf("revoked %+v; want %+v", w.revocations.entries, want)
	}
	if status, answer := w.call(t, "POST", "/v1/introspect", object{"token": "good"}); status != 200 || answer["active"] != false || len(answer) != 1 {
		t.Errorf("introspection of the revoked: %d %v", status, answer)
	}
	if status, answer := w.call(t, "POST", "/v1/revoke", object{"token": "nameless"}); status != 422 {
		t.Errorf("revoking a token without jti, which would do nothing: %d %v", status, answer)
	}
	good.Expires = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if status, answer := w.call(t, "POST", "/v1/revoke", object{"token": "good"}); status != 200 {
		t.Errorf("revoking a token that lives forever: %d %v", status, answer)
	}
	w.verifier.err = errAway
	for _, path := range []string{"/v1/introspect", "/v1/revoke"} {
		if status, _ := w.call(t, "POST", path, object{"token": "good"}); status != 503 {
			t.Errorf("%s without the issuer's keys: %d", path, status)
		}
	}
}

// TestProvidersSessions: what is kept of an external issuer is listed and ended, also by a policy that issues no tokens.
func TestProvidersSessions(t *testing.T) {
	for name, own := range map[string]bool{"beside ours": true, "alone": false} {
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
			if status, answer := w.call(t, "GET", path, nil); status != 200 || len(answer["sessions"].([]any)) != 2 {
				t.Errorf("listing: %d %v", status, answer)
			}
			if status, _ := w.call(t, "DELETE", "/v1/sessions/"+first, nil); status != 204 {
				t.Errorf("ending one: %d", status)
			}
			if status, answer := w.call(t, "DELETE", path, nil); status != 200 || answer["ended"] != 1.0 {
				t.Errorf("ending all: %d %v", status, answer)
			}
			for i, id := range []string{first, second} {
				if e := w.revocations.entries[i]; e.Issuer != token.ExternalSessionIssuer("shop/orders") || e.Value != id || e.Kind != revocation.Subject || e.Before.IsZero() {
					t.Errorf("the other sidecars are told %+v", e)
				}
			}
			if status, answer := w.call(t, "GET", "/v1/subjects/alice/sessions?issuer=https://other.example", nil); status != 422 {
				t.Errorf("an issuer that is not accepted: %d %v", status, answer)
			}
			want := http.StatusOK
			if !own {
				want = http.StatusUnprocessableEntity
			}
			if status, answer := w.call(t, "GET", "/v1/subjects/alice/sessions", nil); status != want {
				t.Errorf("without an issuer: %d %v; want %d", status, answer, want)
			}
		})
	}
}

// admit keeps a session of alice's at corp, and returns its id.
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
