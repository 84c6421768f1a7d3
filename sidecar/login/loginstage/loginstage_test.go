package loginstage

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// chain puts the login stage in front of app.
func chain(t testing.TB, w *logintest.World, app http.HandlerFunc) stage.Handler {
	t.Helper()
	return w.Chain(t, logintest.App(app), loginAt(t, w))
}

// loginAt is the login stage for POST /login.
func loginAt(t testing.TB, w *logintest.World) stage.Stage {
	t.Helper()
	login, err := route.NewMatcher([]route.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Match: login, LoginService: w.LoginService, TokenTransport: w.TokenTransport})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

func TestLoginInBody(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	h := chain(t, w, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("Accept-Encoding reaches the app although its body must be read")
		}
		h := rw.Header()
		h.Set("Postern-Subject", "user-42")
		h.Set("Postern-Claims", `{"roles":["admin"],"secret":"x"}`)
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Content-Length", "9999")
		h.Set("ETag", `"x"`)
		h.Set("X-App", "1")
		h.Set("Trailer", "X-Sum")
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, `{"user":{"name":"Ada"},`)
		_, _ = io.WriteString(rw, `"access_token":"forged","n":12345678901234567890}`)
		rw.Header().Set("X-Sum", "late")
	})
	r := logintest.With(logintest.Post("/login", "user=ada"), "Accept-Encoding", "gzip")
	a := logintest.Send(t, h, r, nil)
	if a.Code != http.StatusOK || a.Header().Get("Cache-Control") != "no-store" || !a.Info.Sensitive {
		t.Fatalf("status %d, %v, sensitive %v", a.Code, a.Header(), a.Info.Sensitive)
	}
	for _, name := range []string{"Postern-Subject", "Postern-Claims", "Etag", "X-Sum", "Trailer", "Set-Cookie"} {
		if v, ok := a.Header()[name]; ok {
			t.Errorf("%s: %v is in the client's response", name, v)
		}
	}
	if a.Header().Get("X-App") != "1" || a.Header().Get("Content-Type") != "application/json" {
		t.Errorf("header %v", a.Header())
	}
	if a.Text("token_type") != "Bearer" || a.JSON["expires_in"] != 900.0 || a.JSON["user"] == nil || !strings.Contains(a.Body.String(), "12345678901234567890") {
		t.Errorf("body %s", a.Body)
	}
	_, claims := logintest.Decode(t, a.Text("access_token"))
	if claims["sub"] != "user-42" || claims["roles"] == nil || claims["secret"] != nil {
		t.Errorf("claims %v", claims)
	}
	if _, _, err := w.LoginService.Refresh(t.Context(), a.Text("refresh_token"), logintest.Chrome()); err != nil {
		t.Errorf("the refresh token: %v", err)
	}
	list, err := w.LoginService.List(t.Context(), session.Owner{Subject: "user-42"})
	if err != nil || len(list) != 1 || list[0].Device.Browser != "Chrome" || list[0].Device.Address.String() != "192.0.2.7" {
		t.Errorf("sessions %+v, %v", list, err)
	}
}

// TestAppBodies: how the app's own body is merged with the tokens.
func TestAppBodies(t *testing.T) {
	app := func(contentType, body string, more ...string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Subject", "a")
			rw.Header().Set("Content-Type", contentType)
			for i := 0; i < len(more); i += 2 {
				rw.Header().Set(more[i], more[i+1])
			}
			_, _ = io.WriteString(rw, body)
		}
	}
	tests := map[string]struct {
		app        http.HandlerFunc
		wantMember bool
	}{
		"JSON":         {app("application/json", `{"x":1}`), true},
		"problem-like": {app("application/hal+json", `{"x":1}`), true},
		"HTML":         {app("text/html", `{"x":1}`), false},
		"an array":     {app("application/json", `[{"x":1}]`), false},
		"broken":       {app("application/json", `{"x":1`), false},
		"compressed":   {app("application/json", `{"x":1}`, "Content-Encoding", "br"), false},
		"too long":     {app("application/json", `{"x":1,"y":"`+strings.Repeat("y", maxAppBody)+`"}`), false},
		"empty":        {app("", ""), false},
		"nothing written": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.(*implicitWriter).Info.AppFields = http.Header{"Postern-Subject": {"a"}}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			a := logintest.Send(t, chain(t, w, implicit(tt.app)), logintest.Post("/login", ""), nil)
			if a.Code != http.StatusOK || a.Text("access_token") == "" || (a.JSON["x"] != nil) != tt.wantMember || a.Header().Get("Content-Encoding") != "" {
				t.Errorf("status %d, body %.200s", a.Code, a.Body)
			}
		})
	}
}

// implicit writes the header, if the app writes a body without WriteHeader.
func implicit(app http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		app(&implicitWriter{AppWriter: rw.(*logintest.AppWriter)}, r)
	}
}

type implicitWriter struct {
	*logintest.AppWriter
	begun bool
}

func (w *implicitWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.WriteHeader(http.StatusOK)
	}
	return w.AppWriter.Write(p)
}

func TestLoginInCookies(t *testing.T) {
	w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
	h := chain(t, w, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Postern-Subject", "a")
		rw.Header().Set("Cache-Control", "public")
		rw.Header().Set("Set-Cookie", "theme=dark")
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, "<p>welcome")
	})
	a := logintest.Send(t, h, logintest.Post("/login", ""), nil)
	if a.Code != http.StatusCreated || a.Body.String() != "<p>welcome" || a.Header().Get("Cache-Control") != "no-store" || !a.Info.Sensitive {
		t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
	}
	jar := a.Cookies()
	for _, name := range []string{transport.AccessCookie, transport.RefreshCookie} {
		c := jar[name]
		if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 {
			t.Errorf("%s = %+v", name, c)
		}
	}
	if jar["theme"] == nil {
		t.Error("the app's own cookie was removed")
	}
	if jar[transport.AccessCookie].MaxAge > 900 || jar[transport.RefreshCookie].MaxAge > 86400 {
		t.Errorf("cookies for %d and %d s", jar[transport.AccessCookie].MaxAge, jar[transport.RefreshCookie].MaxAge)
	}
}

// TestNoLogin: requests for which Postern-Subject is ignored. Where the app sent one of its fields, an event says why.
func TestNoLogin(t *testing.T) {
	status := func(status int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Subject", "a")
			rw.WriteHeader(status)
		}
	}
	get := func() *http.Request { return httptest.NewRequest("GET", logintest.Issuer+"/login", nil) }
	head := func() *http.Request { return httptest.NewRequest("HEAD", logintest.Issuer+"/login", nil) }
	post := func() *http.Request { return logintest.Post("/login", "") }
	tests := map[string]struct {
		delivery transport.Delivery
		request  *http.Request
		app      http.HandlerFunc
		want     int
		// wantReason is empty if there is nothing to report.
		wantReason string
	}{
		"another route":             {"", logintest.Post("/profile", ""), logintest.Says("a"), 200, "route"},
		"another method":            {"", get(), logintest.Says("a"), 200, "route"},
		"HEAD":                      {"", head(), logintest.Says("a"), 200, "route"},
		"no subject":                {"", post(), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }, 204, ""},
		"wrong password":            {"", post(), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(401) }, 401, ""},
		"401":                       {"", post(), status(401), 401, "status"},
		"redirect, in a body":       {"", post(), status(303), 303, "delivery"},
		"307":                       {transport.Cookie, post(), status(307), 307, "status"},
		"308":                       {transport.Cookie, post(), status(308), 308, "status"},
		"301":                       {transport.Cookie, post(), status(301), 301, "status"},
		"304":                       {transport.Cookie, post(), status(304), 304, "status"},
		"500, in cookies":           {transport.Cookie, post(), status(500), 500, "status"},
		"redirect without subject":  {transport.Cookie, post(), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(303) }, 303, ""},
		"redirect of another route": {transport.Cookie, logintest.Post("/profile", ""), status(303), 303, "route"},
		"header from the client":    {"", logintest.With(post(), "Postern-Subject", "a"), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(200) }, 200, ""},
		"only claims": {"", post(), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Claims", "{}")
			rw.WriteHeader(200)
		}, 200, "no-subject"},
		"early hints": {"", post(), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(103); rw.WriteHeader(202) }, 202, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: tt.delivery})
			a := logintest.Send(t, chain(t, w, tt.app), tt.request, func(i *request.Info) { i.Events = event.NewStream("shop/orders", w) })
			if a.Code != tt.want && a.Code != 103 || a.Body.Len() != 0 || len(a.Header()["Postern-Subject"]) != 0 || len(a.Header()["Set-Cookie"]) != 0 {
				t.Errorf("status %d, %v, body %s", a.Code, a.Header(), a.Body)
			}
			var want []string
			if tt.wantReason != "" {
				want = []string{"login_ignored " + tt.wantReason}
			}
			if !slices.Equal(w.Events, want) {
				t.Errorf("events %v; want %v", w.Events, want)
			}
		})
	}
}

// TestIgnoredLoginsAreLogged: once a minute for each reason, with what to change, because an app may set the header always.
func TestIgnoredLoginsAreLogged(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	g := newIgnored(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	send := func(reason string) {
		info := &request.Info{Path: "/login", AppFields: http.Header{subjectField: {"user-42"}}}
		g.report(request.With(logintest.Post("/login", ""), info), reason)
	}
	for range 3 {
		for _, reason := range []string{ignoredTokens, ignoredRoute, ignoredStatus, ignoredDelivery, ignoredNoSubject} {
			send(reason)
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != 5 || strings.Contains(log.String(), "user-42") || !strings.Contains(log.String(), "tokens.login") {
		t.Errorf("%d lines:\n%s", lines, log.String())
	}
	now = now.Add(logEvery)
	if send(ignoredRoute); strings.Count(log.String(), "\n") != 6 {
		t.Errorf("not logged again:\n%s", log.String())
	}
}

// TestIgnoringWithoutTokens: a policy without tokens reports the app's fields as well, also if the response breaks off.
func TestIgnoringWithoutTokens(t *testing.T) {
	if _, err := NewIgnoring(nil); err == nil {
		t.Error("no error")
	}
	w := logintest.New(t, logintest.Options{})
	s, err := NewIgnoring(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	app := logintest.App(func(rw http.ResponseWriter, r *http.Request) {
		logintest.Says("a")(rw, r)
		panic(http.ErrAbortHandler)
	})
	func() {
		defer func() { _ = recover() }()
		logintest.Send(t, s(app), logintest.Post("/login", ""), func(i *request.Info) { i.Events = event.NewStream("shop/orders", w) })
	}()
	if !slices.Equal(w.Events, []string{"login_ignored no-tokens"}) {
		t.Errorf("events %v", w.Events)
	}
}

// TestLoginByRedirect: an app that renders pages responds to the form with a redirect, which gets the cookies.
func TestLoginByRedirect(t *testing.T) {
	for _, status := range []int{302, 303} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
			h := chain(t, w, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Postern-Subject", "a")
				rw.Header().Set("Location", "/home")
				rw.Header().Set("Cache-Control", "public, max-age=60")
				rw.WriteHeader(status)
			})
			a := logintest.Send(t, h, logintest.Post("/login", "user=a"), nil)
			jar := a.Cookies()
			if a.Code != status || a.Header().Get("Location") != "/home" || a.Header().Get("Cache-Control") != "no-store" || !a.Info.Sensitive {
				t.Errorf("status %d, %v", a.Code, a.Header())
			}
			if jar[transport.AccessCookie] == nil || jar[transport.RefreshCookie] == nil || !slices.Equal(w.Events, []string{"login ok"}) {
				t.Errorf("cookies %v, events %v", jar, w.Events)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
		a := logintest.Send(t, chain(t, w, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Subject", " ")
			rw.Header().Set("Location", "/home")
			rw.WriteHeader(303)
		}), logintest.Post("/login", ""), nil)
		if a.Code != 502 || a.Header().Get("Location") != "" {
			t.Errorf("status %d, %v", a.Code, a.Header())
		}
	})
}

func TestLoginRefuses(t *testing.T) {
	reject := session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, MaxPerSubject: 1, WhenFull: session.Reject}
	tests := map[string]struct {
		app     http.HandlerFunc
		limits  session.Limits
		prepare func(*logintest.World)
		want    int
		code    string
	}{
		"full":                      {app: logintest.Says("full"), limits: reject, want: 409, code: "session-limit"},
		"store unavailable":         {app: logintest.Says("a"), prepare: func(w *logintest.World) { w.Sessions.Fail("Create") }, want: 503, code: "tokens-unavailable"},
		"signer unavailable":        {app: logintest.Says("a"), prepare: func(w *logintest.World) { w.Signers.Err = signing.ErrNoKey }, want: 503, code: "tokens-unavailable"},
		"claims not JSON":           {app: logintest.Says("a", "Postern-Claims", "x"), want: 502, code: "login-response-invalid"},
		"claims empty":              {app: logintest.Says("a", "Postern-Claims", ""), want: 502, code: "login-response-invalid"},
		"claims twice":              {app: logintest.Says("a", "Postern-Claims", "{}", "Postern-Claims", "{}"), want: 502, code: "login-response-invalid"},
		"claims too large":          {app: logintest.Says("a", "Postern-Claims", `{"name":"`+strings.Repeat("x", 3900)+`"}`), want: 502, code: "login-response-invalid"},
		"empty subject":             {app: logintest.Says(""), want: 502, code: "login-response-invalid"},
		"two subjects":              {app: logintest.Says("a", "Postern-Subject", "b"), want: 502, code: "login-response-invalid"},
		"space around":              {app: logintest.Says(" a"), want: 502, code: "login-response-invalid"},
		"control character":         {app: logintest.Says("a\tb"), want: 502, code: "login-response-invalid"},
		"not UTF-8":                 {app: logintest.Says("a\xff"), want: 502, code: "login-response-invalid"},
		"too long":                  {app: logintest.Says(strings.Repeat("a", 257)), want: 502, code: "login-response-invalid"},
		"revocation is unavailable": {app: logintest.Says("full"), prepare: func(w *logintest.World) { w.Login(t, "full"); w.Revocations.Fail(logintest.ErrUnavailable) }, want: 503, code: "tokens-unavailable"},
	}
	for name, tt := range tests {
		for _, delivery := range []transport.Delivery{transport.Body, transport.Cookie} {
			t.Run(name+" "+string(delivery), func(t *testing.T) {
				w := logintest.New(t, logintest.Options{Delivery: delivery, Limits: tt.limits})
				w.Login(t, "full")
				if tt.prepare != nil {
					tt.prepare(w)
				}
				app := func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Set-Cookie", "logged-in=1")
					tt.app(rw, r)
					_, _ = io.WriteString(rw, "welcome")
				}
				a := logintest.Send(t, chain(t, w, app), logintest.Post("/login", ""), nil)
				if a.Err == nil || a.Code != tt.want || string(a.Err.Code) != tt.code {
					t.Fatalf("status %d, %v; want %d %s", a.Code, a.Err, tt.want, tt.code)
				}
				if strings.Contains(a.Body.String(), "welcome") || len(a.Header()["Set-Cookie"]) != 0 {
					t.Errorf("the app's success reaches the client: %v %s", a.Header(), a.Body)
				}
				if len(a.Info.Decisions) != 1 || w.Events[len(w.Events)-1] != "login "+tt.code {
					t.Errorf("decisions %v, events %v", a.Info.Decisions, w.Events)
				}
			})
		}
	}
}

// TestShadow: in shadow mode a login that would be refused passes the app's response on, without tokens.
func TestShadow(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	w.Sessions.Fail("Create")
	a := logintest.Send(t, chain(t, w, logintest.Says("a")), logintest.Post("/login", ""), func(i *request.Info) { i.Shadow = true })
	if a.Code != 200 || a.Body.Len() != 0 || len(a.Info.Decisions) != 1 || !a.Info.Decisions[0].Shadow {
		t.Errorf("status %d, %s, %+v", a.Code, a.Body, a.Info.Decisions)
	}
}

// TestFixation: a login ends the session that the request carries, even if it belongs to another user.
func TestFixation(t *testing.T) {
	t.Run("Body", func(t *testing.T) {
		w := logintest.New(t, logintest.Options{})
		old := w.Login(t, "attacker")
		a := logintest.Send(t, chain(t, w, logintest.Says("victim")), logintest.As(old, logintest.Post("/login", "")), nil)
		if a.Code != 200 || !w.Revocations.Revoked(old.Session.ID) {
			t.Errorf("status %d, revoked %v", a.Code, w.Revocations.Entries())
		}
		if _, claims := logintest.Decode(t, a.Text("access_token")); claims["sid"] == old.Session.ID {
			t.Error("the session id is unchanged")
		}
	})
	for name, cookies := range map[string]func(token.Tokens) string{
		"both cookies": func(s token.Tokens) string {
			return transport.AccessCookie + "=" + s.Token + "; " + transport.RefreshCookie + "=" + logintest.RefreshToken(s)
		},
		"refresh cookie": func(s token.Tokens) string { return transport.RefreshCookie + "=" + logintest.RefreshToken(s) },
		"access token expired": func(s token.Tokens) string {
			return transport.AccessCookie + "=x; " + transport.RefreshCookie + "=" + logintest.RefreshToken(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
			old := w.Login(t, "attacker")
			a := logintest.Send(t, chain(t, w, logintest.Says("victim")), logintest.With(logintest.Post("/login", ""), "Cookie", cookies(old)), nil)
			if a.Code != 200 || !w.Revocations.Revoked(old.Session.ID) {
				t.Errorf("status %d, revoked %v", a.Code, w.Revocations.Entries())
			}
		})
	}
	t.Run("ending fails", func(t *testing.T) {
		w := logintest.New(t, logintest.Options{})
		old := w.Login(t, "attacker")
		w.Sessions.Fail("End")
		if a := logintest.Send(t, chain(t, w, logintest.Says("victim")), logintest.As(old, logintest.Post("/login", "")), nil); a.Code != 503 {
			t.Errorf("status %d", a.Code)
		}
	})
	t.Run("of another issuer", func(t *testing.T) {
		w := logintest.New(t, logintest.Options{})
		own := w.Login(t, "victim")
		foreign := &identity.Identity{Issuer: "https://other.example.com", Subject: "a", Claims: map[string]any{"sid": own.Session.ID}}
		a := logintest.Send(t, chain(t, w, logintest.Says("b")), logintest.Post("/login", ""), func(i *request.Info) { i.Identity = foreign })
		if a.Code != 200 || w.Revocations.Revoked(own.Session.ID) {
			t.Errorf("status %d; another issuer's sid ended our session", a.Code)
		}
	})
}

// TestALoginThatCannotBeSignedEndsNothing: the user stays logged in.
func TestALoginThatCannotBeSignedEndsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*logintest.World)
		app     http.HandlerFunc
		want    int
	}{
		"signer unavailable": {func(w *logintest.World) { w.Signers.Err = signing.ErrNoKey }, logintest.Says("a"), 503},
		"no such subject":    {func(*logintest.World) {}, logintest.Says("\u0085"), 502},
	} {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			before := w.Login(t, "a")
			tt.prepare(w)
			if a := logintest.Send(t, chain(t, w, tt.app), logintest.As(before, logintest.Post("/login", "")), nil); a.Code != tt.want {
				t.Errorf("status %d, %s", a.Code, a.Body)
			}
			if w.Revocations.Revoked(before.Session.ID) {
				t.Error("the previous session has ended")
			}
		})
	}
}

// TestLoginPassesErrorsOn: the refusal of an inner stage is returned unchanged.
func TestLoginPassesErrorsOn(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	everything, err := route.NewMatcher(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Match: everything, LoginService: w.LoginService, TokenTransport: w.TokenTransport})
	if err != nil {
		t.Fatal(err)
	}
	h := s(stage.Func(func(http.ResponseWriter, *http.Request) error { return logintest.ErrUnavailable }))
	if err := h.ServeHTTP(httptest.NewRecorder(), logintest.Post("/login", "")); !errors.Is(err, logintest.ErrUnavailable) {
		t.Errorf("error = %v", err)
	}
}

// TestStreaming: a response without a login is streamed. A response with a login does not reach the client early.
func TestStreaming(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	for name, tt := range map[string]struct {
		subject     string
		wantFlushed bool
	}{"stream": {"", true}, "login": {"a", false}} {
		recorder := httptest.NewRecorder()
		x := &loginResponse{tokenTransport: w.TokenTransport, login: func() (token.Tokens, bool, error) {
			if tt.subject == "" {
				return token.Tokens{}, false, nil
			}
			return w.Login(t, tt.subject), true, nil
		}}
		app := stage.Func(func(rw http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(rw, "part")
			if err := errors.Join(err, http.NewResponseController(rw).Flush()); err != nil {
				return err
			}
			if recorder.Flushed != tt.wantFlushed {
				t.Errorf("%s: flushed %v", name, recorder.Flushed)
			}
			return nil
		})
		if err := response.Intercept(recorder, logintest.Post("/login", ""), app, x.decide); err != nil {
			t.Error(err)
		}
	}
}

// TestLoginFromAnotherOrigin: the login is refused before the app sees it, although there is no cookie yet.
func TestLoginFromAnotherOrigin(t *testing.T) {
	tests := map[string]struct {
		delivery transport.Delivery
		site     string
		want     int
	}{
		"cookies, another": {transport.Cookie, "cross-site", 403}, "cookies, same": {transport.Cookie, "same-origin", 200}, "body, another": {transport.Body, "cross-site", 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: tt.delivery})
			reached := false
			h := chain(t, w, func(rw http.ResponseWriter, r *http.Request) { reached = true; logintest.Says("a")(rw, r) })
			a := logintest.Send(t, h, logintest.With(logintest.Post("/login", ""), "Sec-Fetch-Site", tt.site), nil)
			if a.Code != tt.want || reached != (tt.want == 200) {
				t.Errorf("status %d, reached %v; want %d", a.Code, reached, tt.want)
			}
		})
	}
}
