package chain

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// TestChallenge: after failures of an account, its next attempts need a solved challenge. The app sees neither the attempt without one nor
// the token.
func TestChallenge(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var asked atomic.Int64
	verify := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		solved := r.PostFormValue("secret") == "s3cret" && r.PostFormValue("response") == "solved"
		_, _ = w.Write([]byte(map[bool]string{true: `{"success":true}`, false: `{"success":false}`}[solved]))
	}))
	defer verify.Close()
	start := func(t *testing.T, onFailure compiled.FailureMode) *logins {
		w := newWorld(t)
		w.writeSecret("challenge", "secret", []byte("s3cret\n"))
		l := &logins{t: t, app: &passwordApp{}}
		w.app.Close()
		w.app = httptest.NewServer(l.app)
		t.Cleanup(w.app.Close)
		l.replicas = []*sidecar{w.sidecar(loginProtectionPolicy("", func(p *compiled.LoginProtection) {
			p.Challenge = &compiled.Challenge{
				Header: "CF-Turnstile-Response", URL: verify.URL, Secret: &compiled.SecretRef{Name: "challenge", Key: "secret"}, AfterFailures: 2,
				Timeout: compiled.Duration(2 * time.Second), InsecureHTTP: true, OnFailure: onFailure,
			}
		})).ready()}
		return l
	}
	try := func(l *logins, password string, tokens ...string) got {
		l.t.Helper()
		h := http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {"203.0.113.1"}}
		if len(tokens) > 0 {
			h["Cf-Turnstile-Response"] = tokens
		}
		return l.replicas[0].send(sent{method: "POST", path: "/login", header: h, body: `{"email":"ada@example.com","password":"` + password + `"}`})
	}
	l := start(t, compiled.Deny)
	try(l, "typo")
	try(l, "typo")
	if asked.Load() != 0 {
		t.Error("the service was asked before two failures")
	}
	reached := l.app.count()
	for name, tt := range map[string]struct {
		tokens []string
		code   string
	}{"no token": {nil, "challenge-required"}, "two tokens": {[]string{"solved", "solved"}, "challenge-required"}, "a wrong token": {[]string{"x"}, "challenge-failed"}} {
		for range 10 { // no failures of the account
			if g := try(l, "right", tt.tokens...); g.status != 403 || g.code() != tt.code {
				t.Fatalf("%s: %d %s", name, g.status, g.text)
			}
		}
	}
	if l.app.count() != reached {
		t.Error("the app was reached without a challenge")
	}
	if g := try(l, "right", "solved"); g.status != 200 {
		t.Errorf("solved: %d %s", g.status, g.text)
	}
	for _, h := range l.app.seen {
		if h.Get("CF-Turnstile-Response") != "" {
			t.Error("the app saw the token")
		}
	}
	down.Store(true)
	for onFailure, want := range map[compiled.FailureMode]int{compiled.Deny: 503, compiled.Allow: 200} {
		l := start(t, onFailure)
		try(l, "typo")
		try(l, "typo")
		if g := try(l, "right", "solved"); g.status != want {
			t.Errorf("%s while the service is down: %d %s; want %d", onFailure, g.status, g.text, want)
		}
	}
}
