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

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestLogin covers which responses of the app log in which user.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	started := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Compression = &compiled.Compression{MinSize: 64} })).ready()
	tests := map[string]struct {
		send sent
		// wantSubject is empty if no login follows.
		wantSubject, wantRoles string
		wantStatus             int
		wantCode               string
	}{
		"login":                              {send: sent{method: "POST", path: "/login?as=ada"}, wantSubject: "ada"},
		"with claims":                        {send: sent{method: "POST", path: "/login?as=ada&claims={\"roles\":\"admin\",\"other\":1}"}, wantSubject: "ada", wantRoles: "admin"},
		"claims cannot replace ours":         {send: sent{method: "POST", path: "/login?as=ada&claims={\"sub\":\"eve\",\"sid\":\"x\",\"exp\":1}"}, wantSubject: "ada"},
		"a trailing slash":                   {send: sent{method: "POST", path: "/login/?as=ada"}, wantSubject: "ada"},
		"compressed":                         {send: sent{method: "POST", path: "/login?as=ada", header: http.Header{"Accept-Encoding": {"gzip"}}}, wantSubject: "ada"},
		"no subject":                         {send: sent{method: "POST", path: "/login"}, wantStatus: 200},
		"a wrong password":                   {send: sent{method: "POST", path: "/login?as=ada&status=401"}, wantStatus: 401},
		"another method":                     {send: sent{method: "GET", path: "/login?as=ada"}, wantStatus: 200},
		"another route":                      {send: sent{method: "POST", path: "/public/login?as=ada"}, wantStatus: 200},
		"early hints":                        {send: sent{method: "POST", path: "/login?early=mallory"}, wantStatus: 200},
		"early hints, and a login":           {send: sent{method: "POST", path: "/login?early=mallory&as=ada"}, wantSubject: "ada"},
		"subject in a trailer":               {send: sent{method: "POST", path: "/login?trailing=Postern-Subject"}, wantStatus: 200},
		"two subjects":                       {send: sent{method: "POST", path: "/login?as=ada&also=bob"}, wantSubject: "ada"},
		"claims not JSON":                    {send: sent{method: "POST", path: "/login?as=ada&claims=x"}, wantStatus: 502, wantCode: "login-response-invalid"},
		"repeated claims":                    {send: sent{method: "POST", path: "/login?as=ada&claims={\"roles\":1,\"roles\":2}"}, wantStatus: 502, wantCode: "login-response-invalid"},
		"a subject with a control character": {send: sent{method: "POST", path: "/login?as=ada%C2%85"}, wantStatus: 502, wantCode: "login-response-invalid"},
		"a subject too long":                 {send: sent{method: "POST", path: "/login?as=" + strings.Repeat("a", 257)}, wantStatus: 502, wantCode: "login-response-invalid"},
		"fields from the client":             {send: sent{method: "POST", path: "/login", header: http.Header{"Postern-Subject": {"mallory"}, "Postern-Claims": {"{}"}}}, wantStatus: 200},
		"fields from the client, other spellings": {send: sent{method: "POST", path: "/login", header: http.Header{"postern_subject": {"mallory"}, "Postern.subject": {"mallory"}, "X-Postern-Subject": {"mallory"}}},
			wantStatus: 200},
		"fields from the client, in Connection": {send: sent{method: "POST", path: "/login?as=ada", header: http.Header{"Connection": {"Postern-Subject"}, "Postern-Subject": {"mallory"}}}, wantSubject: "ada"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := started.in(t)
			g := s.send(tt.send)
			if strings.Contains(g.text, "mallory") || strings.Contains(fmt.Sprint(g.header, g.trailer), "Postern-") {
				t.Errorf("a reserved field passed: %s, %v, %v", g.text, g.header, g.trailer)
			}
			if tt.wantSubject == "" {
				if g.status != tt.wantStatus || g.code() != tt.wantCode || strings.Contains(g.text, "token") {
					t.Errorf("%d %s", g.status, g.text)
				}
				return
			}
			access := g.field("access_token")
			if g.status != 200 || access == "" || g.field("token_type") != "Bearer" || g.json["expires_in"] != 900.0 || g.json["app"] == nil {
				t.Fatalf("%d %s", g.status, g.text)
			}
			if g.header.Get("Cache-Control") != "no-store" || g.header.Get("Content-Encoding") != "" {
				t.Errorf("header %v", g.header)
			}
			if claim(t, access, "sub") != tt.wantSubject || claim(t, access, "roles") != tt.wantRoles || claim(t, access, "other") != "" {
				t.Errorf("the token has subject %q and roles %q", claim(t, access, "sub"), claim(t, access, "roles"))
			}
			used := s.use(tokens{access: access})
			if used.status != 200 || !strings.Contains(used.text, `"X-Auth-Subject":["`+tt.wantSubject+`"]`) || strings.Contains(used.text, "Authorization") {
				t.Errorf("using it: %d %s", used.status, used.text)
			}
		})
	}
}

// TestATrailerLogsNobodyIn: a trailer of the client, announced or not, does not log in.
func TestATrailerLogsNobodyIn(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	for name, announced := range map[string]string{"announced": "Trailer: Postern-Subject\r\n", "not": ""} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nPostern-Subject: mallory\r\n\r\n", announced)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		conn.Close()
		if resp.StatusCode != 200 || strings.Contains(string(body), "mallory") || strings.Contains(string(body), "token") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

// TestALogin runs one login from start to end.
func TestALogin(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	first := s.login("ada")
	g := s.refresh(first)
	second := tokens{g.field("access_token"), g.field("refresh_token")}
	if g.status != 200 || g.header.Get("Cache-Control") != "no-store" || second.refresh == first.refresh || sid(t, second.access) != sid(t, first.access) {
		t.Fatalf("refreshing: %d %s", g.status, g.text)
	}
	if again := s.refresh(first); again.status != 200 || again.field("refresh_token") != second.refresh {
		t.Errorf("retrying after a lost response: %d %s", again.status, again.text)
	}
	for who, tokens := range map[string]tokens{"the first": first, "the second": second} {
		if g := s.use(tokens); g.status != 200 {
			t.Errorf("%s token: %d", who, g.status)
		}
	}
	header, body := form("refresh_token", second.refresh)
	if g := s.send(sent{method: "POST", path: "/auth/logout", header: header, body: body}); g.status != 204 {
		t.Fatalf("logging out: %d %s", g.status, g.text)
	}
	for who, tokens := range map[string]tokens{"the first": first, "the second": second} {
		redistest.Eventually(t, who+" token to end", func() bool { return s.use(tokens).status == 401 })
		g := s.use(tokens)
		if challenge := g.header.Get("WWW-Authenticate"); g.code() != "token-revoked" || !strings.HasPrefix(challenge, `Bearer realm="orders", error="invalid_token"`) {
			t.Errorf("%s token: %s, %s", who, g.text, challenge)
		}
		if g := s.refresh(tokens); g.status != 400 || g.field("error") != "invalid_grant" {
			t.Errorf("refreshing %s: %d %s", who, g.status, g.text)
		}
	}
}

// TestReuseEndsTheFamily: using an old refresh token after its grace ends all tokens of the session.
func TestReuseEndsTheFamily(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Tokens.RefreshGrace = 0 })).ready()
	stolen := s.login("ada")
	g := s.refresh(stolen)
	victim := tokens{g.field("access_token"), g.field("refresh_token")}
	if g := s.refresh(stolen); g.status != 400 || g.field("error") != "invalid_grant" {
		t.Errorf("the old token: %d %s", g.status, g.text)
	}
	if g := s.refresh(victim); g.status != 400 {
		t.Errorf("the current one: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the access tokens to end", func() bool { return s.use(victim).status == 401 && s.use(stolen).status == 401 })
}

// TestLoginEndsPreviousSession: a session that the client already has is ended by a login (session fixation).
func TestLoginEndsPreviousSession(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	before := s.login("ada")
	g := s.send(sent{method: "POST", path: "/login?as=bob", bearer: before.access})
	if g.status != 200 || sid(t, g.field("access_token")) == sid(t, before.access) {
		t.Fatalf("%d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the previous session to end", func() bool { return s.use(before).status == 401 })
	if g := s.refresh(before); g.status != 400 {
		t.Errorf("refreshing it: %d", g.status)
	}
}

func TestCap(t *testing.T) {
	w := newWorld(t)
	for _, full := range []string{"EvictOldest", "Reject"} {
		t.Run(full, func(t *testing.T) {
			w := w.in(t)
			s := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Sessions.MaxPerSubject, p.Sessions.WhenFull = 2, full })).ready()
			first, second := s.login("ada"), s.login("ada")
			s.login("bob")
			g := s.send(sent{method: "POST", path: "/login?as=ada"})
			if full == "Reject" {
				if g.status != 409 || g.code() != "session-limit" || strings.Contains(g.text, "app") {
					t.Errorf("over the cap: %d %s", g.status, g.text)
				}
				if g := s.send(sent{method: "POST", path: "/auth/logout", bearer: first.access}); g.status != 204 {
					t.Errorf("logging out on one: %d", g.status)
				}
				s.login("ada")
				return
			}
			if g.status != 200 {
				t.Fatalf("over the cap: %d %s", g.status, g.text)
			}
			redistest.Eventually(t, "the oldest to end", func() bool { return s.use(first).status == 401 })
			if g := s.use(second); g.status != 200 {
				t.Errorf("the second: %d %s", g.status, g.text)
			}
			if g := s.refresh(first); g.status != 400 {
				t.Errorf("refreshing the oldest: %d", g.status)
			}
		})
	}
}

// TestOwnSessions: users list and end their own sessions.
func TestOwnSessions(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(nil)).ready()
	here, there, stranger := s.login("ada"), s.login("ada"), s.login("bob")
	list := func(of tokens) (ids map[string]bool) {
		ids = map[string]bool{}
		g := s.send(sent{method: "GET", path: "/auth/sessions/", bearer: of.access})
		sessions, _ := g.json["sessions"].([]any)
		for _, one := range sessions {
			v, _ := one.(map[string]any)
			id, _ := v["id"].(string)
			ids[id], _ = v["current"].(bool)
		}
		if g.status != 200 || g.header.Get("Cache-Control") != "no-store" {
			t.Errorf("listing: %d %s", g.status, g.text)
		}
		return ids
	}
	if got := list(here); len(got) != 2 || !got[sid(t, here.access)] || got[sid(t, there.access)] {
		t.Errorf("sessions %v", got)
	}
	if g := s.send(sent{method: "DELETE", path: "/auth/sessions/" + sid(t, stranger.access), bearer: here.access}); g.status != 404 {
		t.Errorf("ending another user's session: %d", g.status)
	}
	if g := s.send(sent{method: "DELETE", path: "/auth/sessions/" + sid(t, there.access), bearer: here.access}); g.status != 204 {
		t.Errorf("ending another: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the session to end", func() bool { return s.use(there).status == 401 })
	s.login("ada")
	if g := s.send(sent{method: "POST", path: "/auth/logout-all", bearer: here.access}); g.status != 204 {
		t.Errorf("logging out everywhere: %d %s", g.status, g.text)
	}
	redistest.Eventually(t, "the session to end", func() bool { return s.use(here).status == 401 })
	if g := s.send(sent{method: "GET", path: "/auth/sessions", bearer: here.access}); g.status != 401 || !strings.Contains(g.header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("listing with an ended session: %d %s", g.status, g.text)
	}
	if got := list(s.login("ada")); len(got) != 1 {
		t.Errorf("afterwards %v", got)
	}
	if g := s.use(stranger); g.status != 200 {
		t.Errorf("the other user: %d", g.status)
	}
}

// TestTheDocumentRevokes: tokens that a TokenRevocation names are refused and their sessions end, also after reloads.
func TestTheDocumentRevokes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	revoke := func(kind, value string) compiled.RevokedTokens {
		r := compiled.RevokedTokens{Name: "r", Kind: kind, Issuer: ownIssuer, Value: value, Expires: time.Now().Add(time.Hour).Unix()}
		if kind == compiled.RevokedSubject {
			r.Before = time.Now().Unix() + 1
		}
		if kind == compiled.RevokedKey {
			r.Expires = 0
		}
		return r
	}
	document := func(addr string, revoked ...compiled.RevokedTokens) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			if addr != "" {
				onRedis(p, addr)
			}
			p.RevokedTokens = revoked
		})
	}
	tests := map[string]struct {
		revoke func(access string) compiled.RevokedTokens
		// wantRefresh means that the session continues. wantOther means that another session of the user continues.
		wantRefresh, wantOther bool
	}{
		"a session": {revoke: func(access string) compiled.RevokedTokens { return revoke(compiled.RevokedSession, sid(t, access)) }, wantOther: true},
		"a subject": {revoke: func(string) compiled.RevokedTokens { return revoke(compiled.RevokedSubject, "ada") }},
		"a token": {revoke: func(access string) compiled.RevokedTokens {
			return revoke(compiled.RevokedToken, claim(t, access, "jti"))
		},
			wantRefresh: true, wantOther: true},
	}
	for store, addr := range map[string]string{"redis": server.Addr, "memory": ""} {
		for name, tt := range tests {
			t.Run(name+" in "+store, func(t *testing.T) {
				w := w.in(t)
				if addr != "" {
					server.Do("FLUSHALL")
				}
				s := w.sidecar(document(addr)).ready()
				ada, other, bob := s.login("ada"), s.login("ada"), s.login("bob")
				s.apply(document(addr, tt.revoke(ada.access)))
				if g := s.use(ada); g.status != 401 || g.code() != "token-revoked" {
					t.Errorf("at once: %d %s", g.status, g.text)
				}
				if got := s.use(other).status == 200; got != tt.wantOther {
					t.Errorf("another session of the user continues: %v", got)
				}
				if got := s.refresh(ada).status == 200; got != tt.wantRefresh {
					t.Errorf("it can be refreshed: %v", got)
				}
				if g := s.use(bob); g.status != 200 {
					t.Errorf("bob: %d %s", g.status, g.text)
				}
				left := 1
				if tt.wantOther {
					left++
				}
				if tt.wantRefresh {
					left++
				}
				redistest.Eventually(t, "the sessions to be ended", func() bool {
					n := 0
					for _, subject := range []string{"ada", "bob"} {
						list, _ := s.loopback("GET", "/v1/subjects/"+subject+"/sessions", "").json["sessions"].([]any)
						n += len(list)
					}
					return n == left
				})
			})
		}
	}
}

// TestEndingRevokedSessionsWaitsForRedis: ending is retried until it succeeds, also after later documents.
func TestEndingRevokedSessionsWaitsForRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	document := func(revoked ...compiled.RevokedTokens) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			p.RevokedTokens = revoked
		})
	}
	s := w.sidecar(document()).ready()
	other := w.sidecar(document()).ready()
	ada := s.login("ada")
	server.Pause()
	revoked := compiled.RevokedTokens{Name: "r", Kind: compiled.RevokedSession, Issuer: ownIssuer, Value: sid(t, ada.access), Expires: time.Now().Add(time.Hour).Unix()}
	s.apply(document(revoked))
	second := revoked
	second.Value = strings.Repeat("a", 21) + "A"
	s.apply(document(revoked, second))
	if g := s.use(ada); g.status != 401 {
		t.Errorf("while Redis hangs: %d %s", g.status, g.text)
	}
	server.Resume()
	redistest.Eventually(t, "the session to end, seen by another sidecar", func() bool {
		g := other.loopback("GET", "/v1/subjects/ada/sessions", "")
		list, ok := g.json["sessions"].([]any)
		return g.status == 200 && ok && len(list) == 0
	})
}

// TestOneBadSessionDoesNotBlockOthers: a session that cannot be read does not stop the other revocations of the document.
func TestOneBadSessionDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	document := func(subjects ...string) *compiled.Policy {
		return loginPolicy(func(p *compiled.Policy) {
			onRedis(p, server.Addr)
			for _, subject := range subjects {
				p.RevokedTokens = append(p.RevokedTokens, compiled.RevokedTokens{
					Name: subject, Kind: compiled.RevokedSubject, Issuer: ownIssuer, Value: subject,
					Before: time.Now().Unix() + 1, Expires: time.Now().Add(time.Hour).Unix(),
				})
			}
		})
	}
	s := w.sidecar(document()).ready()
	bad := s.login("ada")
	s.login("bob")
	keys, _ := server.Do("KEYS", "*"+sid(t, bad.access)).([]any)
	if len(keys) != 1 {
		t.Fatalf("keys %v", keys)
	}
	server.Do("HSET", keys[0], "created", "rubbish")
	s.apply(document("ada", "bob"))
	redistest.Eventually(t, "bob's session to end", func() bool {
		list, ok := s.loopback("GET", "/v1/subjects/bob/sessions", "").json["sessions"].([]any)
		return ok && len(list) == 0
	})
	if g := s.use(bad); g.status != 401 {
		t.Errorf("the unreadable session: %d", g.status)
	}
}
