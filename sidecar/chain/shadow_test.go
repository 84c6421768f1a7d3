package chain

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestShadowLogsNobodyOut: in shadow mode, of the policy or of its sessions, no session is ended and no request is refused.
func TestShadowLogsNobodyOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	modes := map[string]func(*compiled.Policy){
		"the policy":   func(p *compiled.Policy) { p.Mode = compiled.Shadow },
		"its sessions": func(p *compiled.Policy) { p.Sessions.Mode = compiled.Shadow },
	}
	for name, shadow := range modes {
		for _, full := range []string{"EvictOldest", "Reject"} {
			t.Run(name+" "+full, func(t *testing.T) {
				w := w.in(t)
				server.Do("FLUSHALL")
				s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
					onRedis(p, server.Addr)
					shadow(p)
					p.Sessions.MaxPerSubject, p.Sessions.WhenFull, p.Sessions.Bind = 1, full, "UserAgent"
				})).ready()
				first, second := s.login("ada"), s.login("ada")
				for who, tokens := range map[string]tokens{"the first": first, "the second": second} {
					if g := s.use(tokens); g.status != 200 || !strings.Contains(g.text, `"X-Auth-Subject":["ada"]`) {
						t.Errorf("%s session: %d %s", who, g.status, g.text)
					}
					header, body := form("refresh_token", tokens.refresh)
					header.Set("User-Agent", "another device")
					if g := s.send(sent{method: "POST", path: "/auth/refresh", header: header, body: body}); g.status != 200 {
						t.Errorf("refreshing %s from another device: %d %s", who, g.status, g.text)
					}
				}
			})
		}
	}
}

// TestShadowRevokesNothing: a revocation in the document is counted, but the token is not refused, it can be refreshed, and its
// session is not ended.
func TestShadowRevokesNothing(t *testing.T) {
	t.Parallel()
	modes := map[string]func(*compiled.Policy){
		"the policy":     func(p *compiled.Policy) { p.Mode = compiled.Shadow },
		"its revocation": func(p *compiled.Policy) { p.Revocation.Mode = compiled.Shadow },
	}
	for name, shadow := range modes {
		t.Run(name, func(t *testing.T) {
			s := newWorld(t).sidecar(loginPolicy(shadow)).ready()
			ada := s.login("ada")
			s.apply(loginPolicy(func(p *compiled.Policy) {
				shadow(p)
				p.RevokedTokens = []compiled.RevokedTokens{{
					Name: "r", Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: "ada", Before: time.Now().Unix() + 1, Expires: time.Now().Add(time.Hour).Unix(),
				}}
			}))
			time.Sleep(500 * time.Millisecond) // for background work that would end the session
			if g := s.use(ada); g.status != 200 {
				t.Errorf("using it: %d %s", g.status, g.text)
			}
			if g := s.refresh(ada); g.status != 200 {
				t.Errorf("refreshing it: %d %s", g.status, g.text)
			}
		})
	}
}

// TestShadowIssuesNothingWrongly: a login that would be refused passes as the app's own response, without tokens.
func TestShadowIssuesNothingWrongly(t *testing.T) {
	w := newWorld(t)
	cross := http.Header{"Origin": {"https://evil.example.com"}, "Sec-Fetch-Site": {"cross-site"}}
	tests := map[string]struct {
		change     func(*compiled.Policy)
		noKey      bool
		send       sent
		wantTokens bool
	}{
		"a valid login":           {send: sent{method: "POST", path: "/login?as=ada"}, wantTokens: true},
		"no login":                {send: sent{method: "POST", path: "/login"}},
		"a failed login":          {send: sent{method: "POST", path: "/login?as=ada&status=401"}},
		"an invalid subject":      {send: sent{method: "POST", path: "/login?as=ada%C2%85"}},
		"invalid claims":          {send: sent{method: "POST", path: "/login?as=ada&claims=x"}},
		"another method":          {send: sent{method: "GET", path: "/login?as=ada"}},
		"another route":           {send: sent{method: "POST", path: "/orders?as=ada"}},
		"no key":                  {send: sent{method: "POST", path: "/login?as=ada"}, noKey: true},
		"from another origin":     {change: func(p *compiled.Policy) { p.Tokens.Delivery = "Cookie" }, send: sent{method: "POST", path: "/login?as=ada", header: cross}, wantTokens: true},
		"a login, and two tokens": {send: sent{method: "POST", path: "/login?as=ada", header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}}, wantTokens: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			if tt.noKey {
				hidden := filepath.Join(w.secrets, "signing")
				if err := os.Rename(hidden, hidden+".away"); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = os.Rename(hidden+".away", hidden) }()
			}
			s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
				p.Mode = compiled.Shadow
				if tt.change != nil {
					tt.change(p)
				}
			}))
			g := s.send(tt.send)
			_, cookie := g.cookies[accessCookie]
			issued := g.field("access_token") != "" || cookie
			if g.status >= 500 || issued != tt.wantTokens || g.json["app"] == nil {
				t.Errorf("%d %s, %v", g.status, g.text, g.header)
			}
			for name := range g.header {
				if strings.HasPrefix(name, "Postern-") {
					t.Errorf("the client sees %s", name)
				}
			}
		})
	}
}

// TestADeletedPolicyIssuesNothing: no tokens are issued, and clients cannot set the reserved fields.
func TestADeletedPolicyIssuesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Deleted = true
		onRedis(p, "127.0.0.1:1") // a deleted policy needs no store
	}))
	g := s.send(sent{method: "POST", path: "/login?as=ada", header: http.Header{"Postern-Subject": {"mallory"}, "X-Auth-Subject": {"mallory"}}})
	if g.status != 200 || g.field("access_token") != "" || strings.Contains(g.text, "mallory") || g.header.Get("Postern-Subject") != "" {
		t.Errorf("%d %s, %v", g.status, g.text, g.header)
	}
	if s.snapshot.Load().AppAPI() != nil || len(s.shared.Problems()) != 0 || s.shared.Unready() != "" {
		t.Error("it has an app API, or acquires resources")
	}
}
