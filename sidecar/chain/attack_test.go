package chain

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// raw sends a request with these lines unchanged, and returns its response.
func (s *sidecar) raw(lines ...string) got {
	s.world.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.world.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "%s\r\nHost: %s\r\nConnection: close\r\n\r\n", strings.Join(lines, "\r\n"), ownHost)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.world.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.world.t.Fatal(err)
	}
	return got{status: resp.StatusCode, header: resp.Header, text: string(body)}
}

// TestNoTokenPassesUnverified: if the app receives a token, it is the verified one, regardless of which characters the app
// treats as space.
func TestNoTokenPassesUnverified(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(cookiePolicy(func(p *compiled.Policy) { p.Tokens.ForwardToken = true })).ready()
	good := s.browser("mallory")[0]
	const public, guarded = "GET /public/x HTTP/1.1", "GET /orders HTTP/1.1"
	tests := map[string]struct {
		route, field string
		want         int
	}{
		"no-break space of Latin-1":        {public, "Authorization: Bearer\xa0forged.jwt.x", 200},
		"next line of Latin-1":             {public, "Authorization: Bearer\x85forged.jwt.x", 200},
		"a Unicode space":                  {public, "Authorization: Bearer\u2000forged.jwt.x", 200},
		"space before the scheme":          {public, "Authorization: \u00a0Bearer forged.jwt.x", 200},
		"a cookie after Latin-1 space":     {public, "Cookie: \xa0" + accessCookie + "=forged.jwt.x", 200},
		"a cookie after Unicode space":     {public, "Cookie: \u2000" + accessCookie + "=forged.jwt.x", 200},
		"a cookie before space":            {public, "Cookie: " + accessCookie + "\u3000=forged.jwt.x", 200},
		"a second cookie after space":      {guarded, "Cookie: " + good.Name + "=" + good.Value + "; \u2000" + accessCookie + "=forged.jwt.x", 400},
		"a second cookie before the other": {guarded, "Cookie: \xa0" + accessCookie + "=forged.jwt.x; " + good.Name + "=" + good.Value, 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if g := s.in(t).raw(tt.route, tt.field); g.status != tt.want || strings.Contains(g.text, "forged") {
				t.Errorf("%d %s", g.status, g.text)
			}
		})
	}
}

// TestAProvidersCookie: a request from another origin does not end sessions, even if the browser adds an external issuer's
// cookie.
func TestAProvidersCookie(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	policies := map[string]func(func(*compiled.Policy)) *compiled.Policy{"Cookie": cookiePolicy, "Body": loginPolicy}
	for delivery, policyOf := range policies {
		t.Run(delivery, func(t *testing.T) {
			s := w.in(t).sidecar(policyOf(func(p *compiled.Policy) {
				p.Providers = policy(i).Providers
				p.Providers[0].From = []compiled.TokenLocation{{Cookie: "idp"}}
				p.Sessions.SubjectFrom = "sid"
			})).ready()
			send := func(method, path string, header http.Header) got {
				c := &http.Cookie{Name: "idp", Value: i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": "s"})}
				return s.send(sent{method: method, path: path, cookies: []*http.Cookie{c}, header: header, host: ownHost})
			}
			cross := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
			list, _ := send("GET", "/auth/sessions", nil).json["sessions"].([]any)
			if len(list) != 1 {
				t.Fatalf("%d sessions; want 1", len(list))
			}
			session, _ := list[0].(map[string]any)
			if session["current"] != true {
				t.Errorf("the current session is not marked: %v", session)
			}
			for _, request := range [][2]string{
				{"POST", "/auth/logout-all"}, {"POST", "/auth/logout"}, {"DELETE", fmt.Sprintf("/auth/sessions/%s", session["id"])},
			} {
				if g := send(request[0], request[1], cross); g.status != 403 || g.code() != "cross-origin" {
					t.Errorf("%s: %d %s", request[1], g.status, g.text)
				}
			}
			if g := send("GET", "/orders", nil); g.status != 200 {
				t.Errorf("the session has ended: %d %s", g.status, g.text)
			}
			if g := send("POST", "/auth/logout", nil); g.status != 204 {
				t.Errorf("logging out from the app's own page: %d %s", g.status, g.text)
			}
			if g := send("GET", "/orders", nil); g.status != 401 {
				t.Errorf("after logging out: %d %s", g.status, g.text)
			}
		})
	}
}

// TestLogoutWithoutSessionsIsRefused: if no session can be ended, the response does not report success.
func TestLogoutWithoutSessionsIsRefused(t *testing.T) {
	w, i := newWorld(t), newIssuer(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Providers = policy(i).Providers })).ready()
	access := i.claims(t, "JWT", jwt.MapClaims{"sub": "ada", "sid": "s"})
	for _, path := range []string{"/auth/logout", "/auth/logout-all"} {
		if g := s.send(sent{method: "POST", path: path, bearer: access}); g.status != 403 || g.code() != "not-our-session" {
			t.Errorf("%s: %d %s", path, g.status, g.text)
		}
	}
}

// TestNoLoginByHEAD: HEAD does not log in, because links and pages of other origins can send it like GET.
func TestNoLoginByHEAD(t *testing.T) {
	s := newWorld(t).sidecar(cookiePolicy(func(p *compiled.Policy) {
		p.Tokens.Login = []compiled.Match{{Methods: []string{"GET"}, Paths: []string{"/login"}}}
	})).ready()
	if g := s.send(sent{method: "HEAD", path: "/login?as=ada", host: ownHost}); len(g.cookies) != 0 || g.header.Get("Postern-Subject") != "" {
		t.Errorf("HEAD: %d %v", g.status, g.header)
	}
	if g := s.send(sent{method: "GET", path: "/login?as=ada", host: ownHost}); len(g.cookies) != 2 {
		t.Errorf("GET, which the policy names: %d %v", g.status, g.header)
	}
}

// TestBrokenLoginDoesNotCount: a login whose tokens never reached the client does not count for the cap.
func TestBrokenLoginDoesNotCount(t *testing.T) {
	s := newWorld(t).sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Sessions.MaxPerSubject, p.Sessions.WhenFull = 1, "Reject"
	})).ready()
	for range 3 {
		if g, err := s.try(sent{method: "POST", path: "/login?as=ada&broken"}); err == nil && g.status == 200 {
			t.Fatalf("the response is complete: %s", g.text)
		}
	}
	s.login("ada")
}
