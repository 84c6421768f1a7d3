package token

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/session"
)

func TestLoginNeedsItsParts(t *testing.T) {
	if _, err := LoginStage(LoginStageConfig{}); err == nil {
		t.Error("no error")
	}
}

func TestExchangeInBody(t *testing.T) {
	w := newWorld(t, options{})
	h := w.chain(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("the app may compress what is to be read")
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
	r := with(post("/login", "user=ada"), "Accept-Encoding", "gzip")
	a := send(t, h, r, nil)
	if a.Code != http.StatusOK || a.Header().Get("Cache-Control") != "no-store" || !a.info.Sensitive {
		t.Fatalf("status %d, %v, sensitive %v", a.Code, a.Header(), a.info.Sensitive)
	}
	for _, name := range []string{"Postern-Subject", "Postern-Claims", "Etag", "X-Sum", "Trailer", "Set-Cookie"} {
		if v, ok := a.Header()[name]; ok {
			t.Errorf("%s: %v is in the answer", name, v)
		}
	}
	if a.Header().Get("X-App") != "1" || a.Header().Get("Content-Type") != "application/json" {
		t.Errorf("header %v", a.Header())
	}
	if a.text("token_type") != "Bearer" || a.body["expires_in"] != 900.0 || a.body["user"] == nil || !strings.Contains(a.Body.String(), "12345678901234567890") {
		t.Errorf("body %s", a.Body)
	}
	_, claims := decode(t, a.text("access_token"))
	if claims["sub"] != "user-42" || claims["roles"] == nil || claims["secret"] != nil {
		t.Errorf("claims %v", claims)
	}
	if _, _, err := w.loginService.Refresh(t.Context(), a.text("refresh_token"), chrome()); err != nil {
		t.Errorf("the refresh token: %v", err)
	}
	list, err := w.loginService.List(t.Context(), session.Owner{Subject: "user-42"})
	if err != nil || len(list) != 1 || list[0].Device.Browser != "Chrome" || list[0].Device.Address.String() != "192.0.2.7" {
		t.Errorf("sessions %+v, %v", list, err)
	}
}

// TestAppBodies: what becomes of the app's own body.
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
			rw.(*implicitWriter).info.AppFields = http.Header{"Postern-Subject": {"a"}}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			a := send(t, w.chain(t, implicit(tt.app)), post("/login", ""), nil)
			if a.Code != http.StatusOK || a.text("access_token") == "" || (a.body["x"] != nil) != tt.wantMember || a.Header().Get("Content-Encoding") != "" {
				t.Errorf("status %d, body %.200s", a.Code, a.Body)
			}
		})
	}
}

// implicit writes the header where an app writes a body at once.
func implicit(app http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { app(&implicitWriter{appWriter: rw.(*appWriter)}, r) }
}

type implicitWriter struct {
	*appWriter
	begun bool
}

func (w *implicitWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.WriteHeader(http.StatusOK)
	}
	return w.appWriter.Write(p)
}

func TestLoginInCookies(t *testing.T) {
	w := newWorld(t, options{delivery: Cookie})
	h := w.chain(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Postern-Subject", "a")
		rw.Header().Set("Cache-Control", "public")
		rw.Header().Set("Set-Cookie", "theme=dark")
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, "<p>welcome")
	})
	a := send(t, h, post("/login", ""), nil)
	if a.Code != http.StatusCreated || a.Body.String() != "<p>welcome" || a.Header().Get("Cache-Control") != "no-store" || !a.info.Sensitive {
		t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
	}
	jar := a.jar()
	for _, name := range []string{AccessCookie, RefreshCookie} {
		c := jar[name]
		if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 {
			t.Errorf("%s = %+v", name, c)
		}
	}
	if jar["theme"] == nil {
		t.Error("the app's own cookie is gone")
	}
	if jar[AccessCookie].MaxAge > 900 || jar[RefreshCookie].MaxAge > 86400 {
		t.Errorf("cookies for %d and %d s", jar[AccessCookie].MaxAge, jar[RefreshCookie].MaxAge)
	}
}

// TestNoLogin: where Postern-Subject means nothing.
func TestNoLogin(t *testing.T) {
	tests := map[string]struct {
		request *http.Request
		app     http.HandlerFunc
		want    int
	}{
		"another route":  {post("/profile", ""), says("a"), 200},
		"another method": {httptest.NewRequest("GET", issuer+"/login", nil), says("a"), 200},
		"no subject":     {post("/login", ""), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }, 204},
		"wrong password": {post("/login", ""), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Subject", "a")
			rw.WriteHeader(401)
		}, 401},
		"redirect": {post("/login", ""), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Subject", "a")
			rw.WriteHeader(303)
		}, 303},
		"of the client": {with(post("/login", ""), "Postern-Subject", "a"), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(200) }, 200},
		"only claims": {post("/login", ""), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Postern-Claims", "{}")
			rw.WriteHeader(200)
		}, 200},
		"early hints": {post("/login", ""), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(103); rw.WriteHeader(202) }, 202},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			a := send(t, w.chain(t, tt.app), tt.request, nil)
			if a.Code != tt.want && a.Code != 103 || a.Body.Len() != 0 || len(w.events) != 0 || len(a.Header()["Postern-Subject"]) != 0 {
				t.Errorf("status %d, body %s, events %v", a.Code, a.Body, w.events)
			}
		})
	}
}

func TestLoginRefuses(t *testing.T) {
	reject := session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, MaxPerSubject: 1, WhenFull: session.Reject}
	tests := map[string]struct {
		app     http.HandlerFunc
		limits  session.Limits
		prepare func(*world)
		want    int
		code    string
	}{
		"full":               {app: says("full"), limits: reject, want: 409, code: "session-limit"},
		"store away":         {app: says("a"), prepare: func(w *world) { w.sessions.take("Create") }, want: 503, code: "tokens-unavailable"},
		"signer away":        {app: says("a"), prepare: func(w *world) { w.signers.err = signing.ErrNoKey }, want: 503, code: "tokens-unavailable"},
		"claims no JSON":     {app: says("a", "Postern-Claims", "x"), want: 502, code: "login-response-invalid"},
		"claims empty":       {app: says("a", "Postern-Claims", ""), want: 502, code: "login-response-invalid"},
		"claims twice":       {app: says("a", "Postern-Claims", "{}", "Postern-Claims", "{}"), want: 502, code: "login-response-invalid"},
		"claims too large":   {app: says("a", "Postern-Claims", `{"name":"`+strings.Repeat("x", 3900)+`"}`), want: 502, code: "login-response-invalid"},
		"empty subject":      {app: says(""), want: 502, code: "login-response-invalid"},
		"two subjects":       {app: says("a", "Postern-Subject", "b"), want: 502, code: "login-response-invalid"},
		"space around":       {app: says(" a"), want: 502, code: "login-response-invalid"},
		"control character":  {app: says("a\tb"), want: 502, code: "login-response-invalid"},
		"not UTF-8":          {app: says("a\xff"), want: 502, code: "login-response-invalid"},
		"too long":           {app: says(strings.Repeat("a", 257)), want: 502, code: "login-response-invalid"},
		"revocation is away": {app: says("full"), prepare: func(w *world) { w.login(t, "full"); w.revocations.err = errAway }, want: 503, code: "tokens-unavailable"},
	}
	for name, tt := range tests {
		for _, delivery := range []Delivery{Body, Cookie} {
			t.Run(name+" "+string(delivery), func(t *testing.T) {
				w := newWorld(t, options{delivery: delivery, limits: tt.limits})
				w.login(t, "full")
				if tt.prepare != nil {
					tt.prepare(w)
				}
				app := func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Set-Cookie", "logged-in=1")
					tt.app(rw, r)
					_, _ = io.WriteString(rw, "welcome")
				}
				a := send(t, w.chain(t, app), post("/login", ""), nil)
				if a.err == nil || a.Code != tt.want || string(a.err.Code) != tt.code {
					t.Fatalf("status %d, %v; want %d %s", a.Code, a.err, tt.want, tt.code)
				}
				if strings.Contains(a.Body.String(), "welcome") || len(a.Header()["Set-Cookie"]) != 0 {
					t.Errorf("the app's success shows: %v %s", a.Header(), a.Body)
				}
				if len(a.info.Decisions) != 1 || w.events[len(w.events)-1] != "login "+tt.code {
					t.Errorf("decisions %v, events %v", a.info.Decisions, w.events)
				}
			})
		}
	}
}

// TestShadow passes the app's answer on, without tokens, where a login would be refused.
func TestShadow(t *testing.T) {
	w := newWorld(t, options{})
	w.sessions.take("Create")
	a := send(t, w.chain(t, says("a")), post("/login", ""), func(i *request.Info) { i.Shadow = true })
	if a.Code != 200 || a.Body.Len() != 0 || len(a.info.Decisions) != 1 || !a.info.Decisions[0].Shadow {
		t.Errorf("status %d, %s, %+v", a.Code, a.Body, a.info.Decisions)
	}
}

// TestFixation: a login ends the session that came with it, whoever's it was.
func TestFixation(t *testing.T) {
	t.Run("Body", func(t *testing.T) {
		w := newWorld(t, options{})
		old := w.login(t, "attacker")
		a := send(t, w.chain(t, says("victim")), as(old, post("/login", "")), nil)
		if a.Code != 200 || !w.revocations.revoked(old.Session.ID) {
			t.Errorf("status %d, revoked %v", a.Code, w.revocations.entries)
		}
		if _, claims := decode(t, a.text("access_token")); claims["sid"] == old.Session.ID {
			t.Error("the session's id stays")
		}
	})
	for name, cookies := range map[string]func(Tokens) string{
		"both cookies":    func(s Tokens) string { return AccessCookie + "=" + s.Token + "; " + RefreshCookie + "=" + refreshOf(s) },
		"refresh cookie":  func(s Tokens) string { return RefreshCookie + "=" + refreshOf(s) },
		"access is stale": func(s Tokens) string { return AccessCookie + "=x; " + RefreshCookie + "=" + refreshOf(s) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{delivery: Cookie})
			old := w.login(t, "attacker")
			a := send(t, w.chain(t, says("victim")), with(post("/login", ""), "Cookie", cookies(old)), nil)
			if a.Code != 200 || !w.revocations.revoked(old.Session.ID) {
				t.Errorf("status %d, revoked %v", a.Code, w.revocations.entries)
			}
		})
	}
	t.Run("cannot be ended", func(t *testing.T) {
		w := newWorld(t, options{})
		old := w.login(t, "attacker")
		w.sessions.take("End")
		if a := send(t, w.chain(t, says("victim")), as(old, post("/login", "")), nil); a.Code != 503 {
			t.Errorf("status %d", a.Code)
		}
	})
	t.Run("of another issuer", func(t *testing.T) {
		w := newWorld(t, options{})
		own := w.login(t, "victim")
		foreign := &identity.Identity{Issuer: "https://other.example.com", Subject: "a", Claims: map[string]any{"sid": own.Session.ID}}
		a := send(t, w.chain(t, says("b")), post("/login", ""), func(i *request.Info) { i.Identity = foreign })
		if a.Code != 200 || w.revocations.revoked(own.Session.ID) {
			t.Errorf("status %d; another issuer's sid ended our session", a.Code)
		}
	})
}

// TestLoginPassesErrorsOn: a stage further in that refuses is answered as ever.
// TestALoginThatCannotBeSignedEndsNothing: the person stays logged in as before.
func TestALoginThatCannotBeSignedEndsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*world)
		app     http.HandlerFunc
		want    int
	}{
		"signer away":     {func(w *world) { w.signers.err = signing.ErrNoKey }, says("a"), 503},
		"no such subject": {func(*world) {}, says("\u0085"), 502},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			before := w.login(t, "a")
			tt.prepare(w)
			if a := send(t, w.chain(t, tt.app), as(before, post("/login", "")), nil); a.Code != tt.want {
				t.Errorf("status %d, %s", a.Code, a.Body)
			}
			if w.revocations.revoked(before.Session.ID) {
				t.Error("the session before has ended")
			}
		})
	}
}

func TestLoginPassesErrorsOn(t *testing.T) {
	w := newWorld(t, options{})
	everything, err := route.NewMatcher(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoginStage(LoginStageConfig{Match: everything, LoginService: w.loginService, TokenTransport: w.tokenTransport})
	if err != nil {
		t.Fatal(err)
	}
	h := s(stage.Func(func(http.ResponseWriter, *http.Request) error { return errAway }))
	if err := h.ServeHTTP(httptest.NewRecorder(), post("/login", "")); !errors.Is(err, errAway) {
		t.Errorf("error = %v", err)
	}
}

// TestStreaming: an answer that is no login streams, and one that is does not reach the client early.
func TestStreaming(t *testing.T) {
	w := newWorld(t, options{})
	for name, tt := range map[string]struct {
		subject     string
		wantFlushed bool
	}{"stream": {"", true}, "login": {"a", false}} {
		recorder := httptest.NewRecorder()
		x := &loginResponse{tokenTransport: w.tokenTransport, login: func() (Tokens, bool, error) {
			if tt.subject == "" {
				return Tokens{}, false, nil
			}
			return w.login(t, tt.subject), true, nil
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
		if err := response.Intercept(recorder, post("/login", ""), app, x.decide); err != nil {
			t.Error(err)
		}
	}
}
