package chain

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

var b64 = base64.RawURLEncoding

// TestNothingUnderTheEndpointsReachesTheApp: the rule that opens the endpoints opens no route of the app.
func TestNothingUnderTheEndpointsReachesTheApp(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t)
	for name, change := range map[string]func(*compiled.Policy){
		"tokens are needed": nil,
		"default Deny": func(p *compiled.Policy) {
			p.Authorization.Rules = []compiled.AuthorizationRule{{Name: "closed", Match: []compiled.Match{{Paths: []string{"/**"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce}}
		},
		"a provider logs out": func(p *compiled.Policy) {
			p.Providers = policy(i).Providers
			p.Providers[0].BackChannelLogout = &compiled.BackChannelLogout{ClientIDs: []string{"orders"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			s := w.sidecar(loginPolicy(change)).ready()
			for _, path := range []string{
				"/auth/refresh", "/auth/logout", "/auth/logout-all", "/auth/sessions", "/auth/sessions/x", "/auth/sessions/" + strings.Repeat("a", 22),
				"/auth/backchannel-logout", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
				"/auth", "/auth/other", "/auth/sessions/x/y", "/AUTH/refresh", "/auth/refresh.json", "/auth/%72efresh", "//auth//refresh", "/auth/sessions/%2e%2e",
			} {
				for _, tail := range []string{"", "/", "//", "/%20", "?x", "/?x"} {
					for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"} {
						before := w.reached.Load()
						g := s.send(sent{method: method, path: path + tail})
						if w.reached.Load() != before || g.status < 300 && strings.Contains(g.text, `"app"`) {
							t.Errorf("%s %s%s reached the app without a token: %d", method, path, tail, g.status)
						}
					}
				}
			}
		})
	}
}

// TestRefusalsOfTheEndpoints: refusals of the endpoints are readable by clients and by pages.
func TestRefusalsOfTheEndpoints(t *testing.T) {
	w, stranger := newWorld(t), newIssuer(t)
	started := w.sidecar(cookiePolicy(func(p *compiled.Policy) { p.Tokens.Delivery = "Body" })).ready()
	page := http.Header{"Origin": {"https://app.example.com"}}
	form, body := form("refresh_token", "x")
	form.Set("Origin", "https://app.example.com")
	tests := map[string]struct {
		send       sent
		wantStatus int
		wantCode   string
		// wantChallenge is a prefix of WWW-Authenticate (RFC 6750 §3).
		wantChallenge string
	}{
		"no token":                 {send: sent{method: "GET", path: "/auth/sessions"}, wantStatus: 401, wantCode: "unauthenticated", wantChallenge: `Bearer realm="orders"`},
		"no token to log out":      {send: sent{method: "POST", path: "/auth/logout"}, wantStatus: 401, wantCode: "unauthenticated", wantChallenge: `Bearer realm="orders"`},
		"another issuer's token":   {send: sent{method: "GET", path: "/auth/sessions", bearer: stranger.token(t, "eve")}, wantStatus: 401, wantCode: "invalid-token", wantChallenge: `Bearer realm="orders", error="invalid_token"`},
		"a method":                 {send: sent{method: "GET", path: "/auth/refresh"}, wantStatus: 405, wantCode: "method-not-allowed"},
		"an unknown refresh token": {send: sent{method: "POST", path: "/auth/refresh", header: form, body: body}, wantStatus: 400},
		"no refresh token":         {send: sent{method: "POST", path: "/auth/refresh"}, wantStatus: 400},
		"the key set":              {send: sent{method: "POST", path: "/.well-known/jwks.json"}, wantStatus: 405, wantCode: "method-not-allowed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.send.header == nil {
				tt.send.header = page
			}
			g := started.in(t).send(tt.send)
			challenge := g.header.Get("WWW-Authenticate")
			if g.status != tt.wantStatus || g.code() != tt.wantCode || !strings.HasPrefix(challenge, tt.wantChallenge) || (challenge == "") != (tt.wantChallenge == "") {
				t.Errorf("%d %s, challenge %q", g.status, g.text, challenge)
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true", "X-Content-Type-Options": "nosniff",
			} {
				if got := g.header.Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
			if allow := g.header.Get("Allow"); (g.status == 405) != (allow != "") {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

func form(values ...string) (http.Header, string) {
	v := url.Values{}
	for i := 0; i < len(values); i += 2 {
		v.Add(values[i], values[i+1])
	}
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, v.Encode()
}
