package appapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

func TestRevokeAny(t *testing.T) {
	const provider = "https://id.example.com"
	tests := map[string]struct {
		body object
		want int
		// wantEntries have the form "kind issuer value".
		wantEntries []string
	}{
		"a token of a provider":       {object{"issuer": provider, "token_id": "j"}, 200, []string{"Token " + provider + " j"}},
		"a session of ours":           {object{"issuer": issuer, "session_id": "s"}, 200, []string{"Session " + issuer + " s"}},
		"a subject without an issuer": {object{"subject": "ada"}, 200, []string{"Subject " + issuer + " ada", "Subject " + provider + " ada"}},
		"a key":                       {object{"issuer": issuer, "key_id": "k"}, 200, []string{"Key " + issuer + " k"}},
		"an unknown issuer":           {object{"issuer": "https://else.example.com", "token_id": "j"}, 422, nil},
		"nothing":                     {object{"issuer": issuer}, 422, nil},
		"two kinds":                   {object{"token_id": "j", "key_id": "k"}, 422, nil},
		"a session before a time":     {object{"session_id": "s", "issued_before": "2026-01-01T00:00:00Z"}, 422, nil},
		"an invalid time":             {object{"subject": "ada", "issued_before": "yesterday"}, 400, nil},
		"an unknown member":           {object{"subject": "ada", "why": "because"}, 400, nil},
		"a member in another case":    {object{"subject": "ada", "Subject": "bob"}, 400, nil},
		"a member that is equal under case folding": {object{"subject": "ada", "ſubject": "bob"}, 400, nil},
		"expired": {object{"token_id": "j", "expires": "2020-01-01T00:00:00Z"}, 422, nil},
		"a subject with a time too far in the future": {object{"subject": "ada", "issued_before": "2300-01-01T00:00:00Z"}, 422, nil},
		"a subject before 1970":                       {object{"subject": "ada", "issued_before": "1969-01-01T00:00:00Z"}, 422, nil},
		"over the maximum lifetime":                   {object{"token_id": "j", "expires": "2999-01-01T00:00:00Z"}, 422, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passwords{})
			status, response := w.call(t, http.MethodPost, "/v1/revocations", tt.body)
			if status != tt.want {
				t.Fatalf("%d %v; want %d", status, response, tt.want)
			}
			var got []string
			for _, e := range w.revocations.entries {
				got = append(got, string(e.Kind)+" "+e.Issuer+" "+e.Value)
			}
			if strings.Join(got, ", ") != strings.Join(tt.wantEntries, ", ") {
				t.Errorf("revoked %v; want %v", got, tt.wantEntries)
			}
			if n, _ := response["revoked"].(float64); status == 200 && int(n) != len(tt.wantEntries) {
				t.Errorf("response %v", response)
			}
		})
	}
}

// TestRevokingASubjectEndsItsSessions: sessions that began before the time end, and no others.
func TestRevokingASubjectEndsItsSessions(t *testing.T) {
	w := newWorld(t, passwords{})
	login := func() token.Tokens {
		tokens, err := w.loginService.Begin(t.Context(), token.Login{Subject: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	login()
	if status, response := w.call(t, http.MethodPost, "/v1/revocations", object{"subject": "ada", "issued_before": time.Now().Add(-time.Hour).Format(time.RFC3339)}); status != 200 {
		t.Fatalf("%d %v", status, response)
	}
	listed := func() int {
		sessions, err := w.loginService.List(t.Context(), session.Owner{Subject: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		return len(sessions)
	}
	if n := listed(); n != 1 {
		t.Errorf("%d sessions are left; want the newer one", n)
	}
	if status, response := w.call(t, http.MethodPost, "/v1/revocations", object{"subject": "ada"}); status != 200 {
		t.Fatalf("%d %v", status, response)
	}
	if n := listed(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestRevokingWithoutTheStore(t *testing.T) {
	w := newWorld(t, passwords{})
	w.revocations.err = errUnavailable
	if status, response := w.call(t, http.MethodPost, "/v1/revocations", object{"subject": "ada"}); status != 503 {
		t.Errorf("%d %v; want 503", status, response)
	}
	w.revocations.err, w.sessions.err = nil, errUnavailable
	if status, response := w.call(t, http.MethodPost, "/v1/revocations", object{"subject": "ada"}); status != 503 {
		t.Errorf("with sessions unavailable: %d %v; want 503", status, response)
	}
}

// TestNotEnabled: the problem names the section that the policy lacks.
func TestNotEnabled(t *testing.T) {
	h, err := New(Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for path, section := range map[string]string{"/v1/tokens": "tokens", "/v1/revocations": "revocation", "/v1/passwords/hash": "passwordPolicy"} {
		recorder := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1"+path, strings.NewReader("{}"))
		r.Header.Set(RequestHeader, "true")
		h.ServeHTTP(recorder, r)
		if recorder.Code != http.StatusNotFound || !strings.Contains(recorder.Body.String(), section) || !strings.Contains(recorder.Body.String(), "not-enabled") {
			t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
		}
	}
}

var _ Checker = revocation.Known{}
