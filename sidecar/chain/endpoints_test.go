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

// TestNothingUnderTheEndpointsReachesTheApp: the rule that opens the endpoints opens nothing of the app's.
func TestNothingUnderTheEndpointsReachesTheApp(t *testing.T) {
	i := newIssuer(t)
	w := newWorld(t)
	for name, change := range map[string]func(*compiled.Policy){
		"tokens are needed": nil,
		"all is closed": func(p *compiled.Policy) {
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

func form(values ...string) (http.Header, string) {
	v := url.Values{}
	for i := 0; i < len(values); i += 2 {
		v.Add(values[i], values[i+1])
	}
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, v.Encode()
}
