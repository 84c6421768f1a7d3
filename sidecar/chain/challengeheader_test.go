package chain

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// TestChallengeWithoutProxy: the header of the challenge reaches login protection from any peer, although its default name begins like those
// in which a CDN describes the client. The other headers of the CDN do not reach the app.
func TestChallengeWithoutProxy(t *testing.T) {
	t.Parallel()
	verify := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(map[bool]string{true: `{"success":true}`, false: `{"success":false}`}[r.PostFormValue("response") == "solved"]))
	}))
	defer verify.Close()
	w := newWorld(t)
	w.writeSecret("challenge", "secret", []byte("s3cret"))
	app := &passwordApp{}
	w.app.Close()
	w.app = httptest.NewServer(app)
	t.Cleanup(w.app.Close)
	p := loginProtectionPolicy("", func(p *compiled.LoginProtection) {
		p.Challenge = &compiled.Challenge{
			Header: "CF-Turnstile-Response", URL: verify.URL, Secret: &compiled.SecretRef{Name: "challenge", Key: "secret"},
			Timeout: compiled.Duration(2 * time.Second), InsecureHTTP: true, OnFailure: compiled.Deny,
		}
	})
	p.Sidecar.TrustedProxies = nil
	s := w.sidecar(p).ready()
	try := func(field, token string) got {
		h := http.Header{"Content-Type": {"application/json"}, "Cf-Connecting-Ip": {"1.1.1.1"}, "Cf-Other": {"x"}, field: {token}}
		return s.send(sent{method: "POST", path: "/login", header: h, body: `{"email":"ada@example.com","password":"right"}`})
	}
	for _, tt := range []struct {
		field, token string
		status       int
		code         string
	}{
		{"Cf-Turnstile-Response", "solved", 200, ""},
		{"Cf-Turnstile-Response", "forged", 403, "challenge-failed"},
		{"Cf_Turnstile_Response", "solved", 403, "challenge-required"},
	} {
		if g := try(tt.field, tt.token); g.status != tt.status || tt.code != "" && g.code() != tt.code {
			t.Errorf("%s: %s: %d %s; want %d %s", tt.field, tt.token, g.status, g.text, tt.status, tt.code)
		}
	}
	for _, h := range app.seen {
		if h.Get("Cf-Connecting-Ip")+h.Get("Cf-Other")+h.Get("Cf-Turnstile-Response") != "" {
			t.Errorf("the app got %v", h)
		}
	}
}
