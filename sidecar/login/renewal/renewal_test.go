package renewal

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// chain returns guard, renewal, authentication, and a rule that needs an identity except under /public, in front of app.
func chain(t testing.TB, w *logintest.World, app http.HandlerFunc) stage.Handler {
	t.Helper()
	providers := []authn.Provider{{
		Name: "postern", Issuer: logintest.Issuer, Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, TokenTypes: []string{"at+jwt"}, Keys: w.Ring,
		From: []authn.Location{{Header: "Authorization", Prefix: "Bearer "}, {Cookie: transport.AccessCookie}},
	}}
	authentication, err := authn.New(authn.Config{Now: w.Now, Providers: providers})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := authn.Sent(providers, transport.AccessCookie)
	if err != nil {
		t.Fatal(err)
	}
	skip, err := route.NewMatcher([]route.Match{{Paths: []string{"/auth/logout"}}})
	if err != nil {
		t.Fatal(err)
	}
	renewal, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Skip: skip, OtherToken: sent, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	rule := func(next stage.Handler) stage.Handler {
		return stage.Func(func(rw http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			switch {
			case info.Identity != nil || info.Path == "/public":
				return next.ServeHTTP(rw, r)
			case info.AuthnErr != nil:
				return info.AuthnErr
			}
			return &httperr.Error{Status: 401, Code: "no-credentials"}
		})
	}
	return stage.Chain(logintest.App(app), w.TokenTransport.Guard(), renewal, authentication, rule)
}

func world(t testing.TB) *logintest.World {
	t.Helper()
	return logintest.New(t, logintest.Options{Delivery: transport.Cookie, Grace: 10 * time.Second})
}

// get returns a request with the fields, which are pairs of names and values.
func get(method, path string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, logintest.Issuer+path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func cookie(name, value string) string { return name + "=" + value }

func refreshCookie(s token.Tokens) string {
	return cookie(transport.RefreshCookie, logintest.RefreshToken(s))
}

// unsigned returns a token with the payload and without a valid signature.
func unsigned(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestRenewal(t *testing.T) {
	const cross, navigate = "Sec-Fetch-Site", "Sec-Fetch-Mode"
	tests := map[string]struct {
		method, path string
		// access is the access cookie; "valid" is the session's own.
		access string
		fields []string
		// noRefresh omits the refresh cookie.
		noRefresh bool
		// later is the time since the login.
		later time.Duration
		want  int
		// wantRenewed says that the response sets new cookies.
		wantRenewed bool
	}{
		"without access cookie":             {want: 200, wantRenewed: true},
		"expired":                           {access: "valid", later: logintest.Lifetime + time.Minute, want: 200, wantRenewed: true},
		"expires now":                       {access: "valid", later: logintest.Lifetime, want: 200, wantRenewed: true},
		"valid":                             {access: "valid", want: 200},
		"malformed":                         {access: "x", want: 200, wantRenewed: true},
		"malformed payload":                 {access: "a.%.c", want: 200, wantRenewed: true},
		"without exp":                       {access: unsigned(`{}`), want: 200, wantRenewed: true},
		"forged, not expired":               {access: unsigned(`{"exp":99999999999999}`), want: 401},
		"without refresh cookie":            {noRefresh: true, want: 401},
		"two access cookies":                {fields: []string{"Cookie", cookie(transport.AccessCookie, "a"), "Cookie", cookie(transport.AccessCookie, "b")}, want: 400},
		"another token":                     {fields: []string{"Authorization", "Bearer x"}, want: 401},
		"another scheme":                    {fields: []string{"Authorization", "Basic x"}, want: 200, wantRenewed: true},
		"HEAD":                              {method: "HEAD", want: 200, wantRenewed: true},
		"POST of the own page":              {method: "POST", fields: []string{cross, "same-origin"}, want: 200, wantRenewed: true},
		"POST of another origin":            {method: "POST", fields: []string{cross, "cross-site"}, want: 403},
		"POST of a trusted origin":          {method: "POST", fields: []string{cross, "same-site", "Origin", "https://app.example.com"}, want: 200, wantRenewed: true},
		"EventSource":                       {fields: []string{cross, "same-origin", "Accept", "text/event-stream"}, want: 200, wantRenewed: true},
		"the address bar":                   {fields: []string{cross, "none", navigate, "navigate", "Sec-Fetch-Dest", "document"}, want: 200, wantRenewed: true},
		"a link of another site":            {fields: []string{cross, "cross-site", navigate, "navigate", "Sec-Fetch-Dest", "document"}, want: 200, wantRenewed: true},
		"a frame in another site":           {fields: []string{cross, "cross-site", navigate, "navigate", "Sec-Fetch-Dest", "iframe"}, want: 401},
		"an image in another site":          {fields: []string{cross, "cross-site", navigate, "no-cors", "Sec-Fetch-Dest", "image"}, want: 401},
		"an image in another host":          {fields: []string{cross, "same-site", navigate, "no-cors", "Sec-Fetch-Dest", "image"}, want: 401},
		"another origin, old browser":       {fields: []string{"Origin", "https://evil.example.com"}, want: 401},
		"a WebSocket":                       {fields: []string{cross, "same-origin", "Upgrade", "websocket"}, want: 200, wantRenewed: true},
		"a WebSocket of another site":       {fields: []string{cross, "cross-site", "Upgrade", "websocket"}, want: 403},
		"OPTIONS":                           {method: "OPTIONS", want: 401},
		"a route that uses it":              {path: "/auth/logout", want: 401},
		"a public route, for a known user":  {path: "/public", want: 200, wantRenewed: true},
		"a public route, without a session": {path: "/public", noRefresh: true, want: 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			s := w.Login(t, "ada")
			w.Offset = tt.later
			user := ""
			h := chain(t, w, func(rw http.ResponseWriter, r *http.Request) {
				if id := request.From(r).Identity; id != nil {
					user = id.Subject
				}
				if transport.RefreshToken(r) != "" && r.Header.Get("Cookie") != "" {
					t.Errorf("the app receives %q", r.Header["Cookie"])
				}
				rw.Header().Set("Cache-Control", "public, max-age=60")
				rw.Header().Set("Cdn-Cache-Control", "max-age=60")
				rw.Header().Add("Set-Cookie", "theme=dark")
				rw.WriteHeader(200)
			})
			r := get("GET", "/orders", tt.fields...)
			if tt.method != "" {
				r.Method = tt.method
			}
			if tt.path != "" {
				r.URL.Path = tt.path
			}
			if tt.access == "valid" {
				tt.access = s.Token
			}
			if tt.access != "" {
				r.Header.Add("Cookie", cookie(transport.AccessCookie, tt.access))
			}
			if !tt.noRefresh {
				r.Header.Add("Cookie", refreshCookie(s))
			}
			a := logintest.Send(t, h, r, nil)
			jar := a.Cookies()
			renewed := jar[transport.AccessCookie] != nil && jar[transport.AccessCookie].MaxAge > 0 && jar[transport.RefreshCookie] != nil
			if a.Code != tt.want || renewed != tt.wantRenewed {
				t.Fatalf("status %d %s, cookies %v; want %d, renewed %v", a.Code, a.Body, jar, tt.want, tt.wantRenewed)
			}
			if !tt.wantRenewed {
				return
			}
			if user != "ada" || jar["theme"] == nil || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Cdn-Cache-Control") != "" {
				t.Errorf("user %q, %v", user, a.Header())
			}
			if jar[transport.RefreshCookie].Value == logintest.RefreshToken(s) {
				t.Error("the refresh token was not rotated")
			}
			if len(w.Events) != 1 || w.Events[0] != "refresh rotated" {
				t.Errorf("events %v", w.Events)
			}
		})
	}
}

// TestResponses: the cookies are set on every kind of response.
func TestResponses(t *testing.T) {
	for name, app := range map[string]http.HandlerFunc{
		"redirect":      func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/next", http.StatusSeeOther) },
		"not modified":  func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotModified) },
		"error":         func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) },
		"implicit":      func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("a")) },
		"stream":        func(rw http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(rw).Flush() },
		"nothing":       func(http.ResponseWriter, *http.Request) {},
		"informational": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(103); rw.WriteHeader(200) },
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			a := logintest.Send(t, chain(t, w, app), get("GET", "/orders", "Cookie", refreshCookie(w.Login(t, "ada"))), nil)
			if jar := a.Cookies(); len(jar) != 2 || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, %v", a.Code, a.Header())
			}
		})
	}
}

// hijacked is a connection that an app takes over.
type hijacked struct{ *httptest.ResponseRecorder }

func (hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

// TestUpgrade: the header that the proxy sends with 101, which it takes from the ResponseWriter, has the cookies.
func TestUpgrade(t *testing.T) {
	w := world(t)
	h := chain(t, w, func(rw http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(rw.(*logintest.AppWriter).ResponseWriter).Hijack(); err != nil {
			t.Error(err)
		}
		if len(rw.Header()["Set-Cookie"]) != 2 {
			t.Errorf("header of the upgrade: %v", rw.Header())
		}
	})
	r := get("GET", "/orders", "Upgrade", "websocket", "Cookie", refreshCookie(w.Login(t, "ada")))
	if err := h.ServeHTTP(hijacked{httptest.NewRecorder()}, request.With(r, &request.Info{Path: "/orders"})); err != nil {
		t.Error(err)
	}
}

// TestInvalid: an invalid refresh token gives no identity, and the cookies are deleted.
func TestInvalid(t *testing.T) {
	tests := map[string]struct {
		refresh func(*logintest.World, token.Tokens) string
		want    string
		// wantEnded says that the session has ended.
		wantEnded bool
	}{
		"replayed after the grace": {func(w *logintest.World, s token.Tokens) string {
			if _, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(s), logintest.Chrome()); err != nil {
				t.Fatal(err)
			}
			w.Offset = 11 * time.Second
			return logintest.RefreshToken(s)
		}, "refresh reused", true},
		"of an ended session": {func(w *logintest.World, s token.Tokens) string {
			if _, err := w.LoginService.EndOwn(t.Context(), s.Session.ID); err != nil {
				t.Fatal(err)
			}
			return logintest.RefreshToken(s)
		}, "refresh unknown", true},
		"malformed": {func(*logintest.World, token.Tokens) string { return "x" }, "refresh unknown", false},
		"forged": {func(_ *logintest.World, s token.Tokens) string {
			return string(session.NewRefresh(s.Session.ID).Token().Reveal())
		}, "refresh unknown", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			s := w.Login(t, "ada")
			refresh := tt.refresh(w, s)
			h := chain(t, w, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(200) })
			a := logintest.Send(t, h, get("GET", "/orders", "Cookie", cookie(transport.RefreshCookie, refresh)), nil)
			jar := a.Cookies()
			if a.Code != 401 || a.Err.Code != "session-ended" || len(jar) != 2 || jar[transport.RefreshCookie].MaxAge >= 0 || jar[transport.AccessCookie].MaxAge >= 0 {
				t.Errorf("status %d, %v, cookies %v", a.Code, a.Err, jar)
			}
			if w.Events[len(w.Events)-1] != tt.want {
				t.Errorf("events %v; want %s", w.Events, tt.want)
			}
			if active, err := w.LoginService.Active(t.Context(), s.Session.ID); err != nil || active == tt.wantEnded {
				t.Errorf("active %v, %v", active, err)
			}
		})
	}
}

// TestUnavailable: the response is 503 on a route that needs a user, and the cookies stay.
func TestUnavailable(t *testing.T) {
	for name, prepare := range map[string]func(*logintest.World){
		"reading":  func(w *logintest.World) { w.Sessions.Fail("Get") },
		"rotating": func(w *logintest.World) { w.Sessions.Fail("Rotate") },
		"signing":  func(w *logintest.World) { w.Signers.Err = signing.ErrNoKey },
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t)
			s := w.Login(t, "ada")
			prepare(w)
			users := 0
			h := chain(t, w, func(rw http.ResponseWriter, r *http.Request) {
				if request.From(r).Identity != nil {
					users++
				}
				rw.WriteHeader(200)
			})
			for path, want := range map[string]int{"/orders": 503, "/public": 200} {
				a := logintest.Send(t, h, get("GET", path, "Cookie", cookie(transport.AccessCookie, unsigned(`{"exp":1}`)), "Cookie", refreshCookie(s)), nil)
				if a.Code != want || len(a.Cookies()) != 0 || want == 503 && a.Err.Code != "tokens-unavailable" {
					t.Errorf("%s: %d, %v, %v", path, a.Code, a.Err, a.Header())
				}
			}
			if w.Events[0] != "refresh unavailable" || users != 0 {
				t.Errorf("events %v, requests with an identity: %d", w.Events, users)
			}
			w.Sessions.Fail()
			w.Signers.Err = nil
			if a := logintest.Send(t, h, get("GET", "/orders", "Cookie", refreshCookie(s)), nil); a.Code != 200 || len(a.Cookies()) != 2 {
				t.Errorf("afterwards: %d, %v", a.Code, a.Err)
			}
		})
	}
}

// TestParallelTabs: concurrent requests of two replicas get the same refresh token, and none ends the session.
func TestParallelTabs(t *testing.T) {
	w := world(t)
	s := w.Login(t, "ada")
	app := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(200) }
	replicas := []stage.Handler{chain(t, w, app), chain(t, w, app)}
	var mu sync.Mutex
	refreshed := map[string]int{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			a := logintest.Send(t, replicas[i%2], get("GET", "/orders", "Cookie", refreshCookie(s)), nil)
			c := a.Cookies()[transport.RefreshCookie]
			if a.Code != 200 || c == nil {
				t.Errorf("status %d, %v", a.Code, a.Err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			refreshed[c.Value]++
		})
	}
	wg.Wait()
	if len(refreshed) != 1 {
		t.Errorf("%d different refresh tokens", len(refreshed))
	}
}

func TestNewRefuses(t *testing.T) {
	w, body := world(t), logintest.New(t, logintest.Options{})
	sent := func(http.Header) bool { return false }
	for name, c := range map[string]Config{
		"nothing":         {},
		"delivery Body":   {LoginService: body.LoginService, TokenTransport: body.TokenTransport, OtherToken: sent},
		"negative leeway": {LoginService: w.LoginService, TokenTransport: w.TokenTransport, OtherToken: sent, Leeway: -1},
		"invalid realm":   {LoginService: w.LoginService, TokenTransport: w.TokenTransport, OtherToken: sent, Realm: "a\nb"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzExpiry(f *testing.F) {
	for _, s := range []string{"", "a.b.c", unsigned(`{"exp":1}`), unsigned(`{"exp":1e400}`), unsigned(`{"exp":"1"}`), unsigned(`{"exp":-1}`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, access string) {
		if e := expiry(access); !e.IsZero() && (e.Unix() < 0 || e.Unix() > maxExpiry) {
			t.Errorf("%q expires at %s", access, e)
		}
	})
}
