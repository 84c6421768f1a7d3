package chain

import (
	"net/http"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestLogoutByForm: a form leads to the policy's page through the whole chain, where the session has ended, and a script gets 204.
func TestLogoutByForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sidecar(cookiePolicy(func(p *compiled.Policy) { p.Tokens.LogoutRedirect = "/login" })).ready()
	for name, tt := range map[string]struct {
		mode, want string
		status     int
	}{"form": {"navigate", "/login", 303}, "script": {"cors", "", 204}} {
		t.Run(name, func(t *testing.T) {
			cookies := s.browser("ada")
			g := s.send(sent{method: "POST", path: "/auth/logout", cookies: cookies, host: ownHost, header: http.Header{
				"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {tt.mode},
			}})
			if g.status != tt.status || g.header.Get("Location") != tt.want || g.cookies[refreshCookie].MaxAge >= 0 {
				t.Fatalf("%d %v", g.status, g.header)
			}
			if g := s.send(sent{method: "GET", path: "/orders", cookies: cookies}); g.status != 401 {
				t.Errorf("after the logout: %d %s", g.status, g.text)
			}
		})
	}
}
