package endpoints

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

func TestRefreshInBody(t *testing.T) {
	for name, body := range map[string]func(token.Tokens) *http.Request{
		"form": func(s token.Tokens) *http.Request {
			return logintest.Post("/auth/refresh", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {logintest.RefreshToken(s)}, "client_id": {"x"}}.Encode())
		},
		"JSON": func(s token.Tokens) *http.Request {
			r := logintest.Post("/auth/refresh", `{"refresh_token":"`+logintest.RefreshToken(s)+`"}`)
			r.Header.Set("Content-Type", "application/json; charset=utf-8")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			s := w.Login(t, "a")
			a := logintest.Send(t, chain(t, w, unreached(t)), body(s), nil)
			if a.Code != 200 || a.Header().Get("Cache-Control") != "no-store" || a.Text("token_type") != "Bearer" || !a.Info.Sensitive {
				t.Fatalf("status %d, %s", a.Code, a.Body)
			}
			if a.Text("refresh_token") == logintest.RefreshToken(s) || a.Text("access_token") == s.Token {
				t.Error("the tokens did not change")
			}
		})
	}
}

func TestRefreshInCookies(t *testing.T) {
	w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
	s := w.Login(t, "a")
	h := chain(t, w, unreached(t))
	a := logintest.Send(t, h, logintest.With(logintest.Post("/auth/refresh", ""), "Cookie", transport.RefreshCookie+"="+logintest.RefreshToken(s)), nil)
	jar := a.Cookies()
	if a.Code != 204 || a.Body.Len() != 0 || jar[transport.RefreshCookie] == nil || jar[transport.RefreshCookie].Value == logintest.RefreshToken(s) || jar[transport.AccessCookie] == nil {
		t.Fatalf("status %d, %v", a.Code, a.Header())
	}
	// Grace is 0 here, so the old cookie counts as stolen. The response deletes the cookies.
	a = logintest.Send(t, h, logintest.With(logintest.Post("/auth/refresh", ""), "Cookie", transport.RefreshCookie+"="+logintest.RefreshToken(s)), nil)
	if a.Code != 400 || a.Text("error") != "invalid_grant" || a.Cookies()[transport.RefreshCookie].MaxAge >= 0 || !w.Revocations.Revoked(s.Session.ID) {
		t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
	}
	if a := logintest.Send(t, h, logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(s)), nil); a.Code != 400 || a.Text("error") != "invalid_request" {
		t.Errorf("a token in the body: status %d, %s", a.Code, a.Body)
	}
}

func TestRefreshRefuses(t *testing.T) {
	kind := func(r *http.Request, contentType string) *http.Request {
		r.Header.Set("Content-Type", contentType)
		return r
	}
	invented := string(session.NewRefresh(session.NewID()).Token().Reveal())
	broken := logintest.Post("/auth/refresh", "x")
	broken.Body = io.NopCloser(iotest.ErrReader(errors.New("reset")))
	tests := map[string]struct {
		request *http.Request
		want    int
		error   string
	}{
		"no body":            {logintest.Post("/auth/refresh", ""), 400, "invalid_request"},
		"no token":           {logintest.Post("/auth/refresh", "grant_type=refresh_token"), 400, "invalid_request"},
		"another grant type": {logintest.Post("/auth/refresh", "grant_type=password&refresh_token=x"), 400, "unsupported_grant_type"},
		"repeated":           {logintest.Post("/auth/refresh", "refresh_token=x&refresh_token=x"), 400, "invalid_request"},
		"malformed form":     {logintest.Post("/auth/refresh", "refresh_token=%zz"), 400, "invalid_request"},
		"malformed token":    {logintest.Post("/auth/refresh", "refresh_token=x"), 400, "invalid_grant"},
		"unknown token":      {logintest.Post("/auth/refresh", "refresh_token="+invented), 400, "invalid_grant"},
		"malformed JSON":     {kind(logintest.Post("/auth/refresh", `{"refresh_token":`), "application/json"), 400, "invalid_request"},
		"repeated in JSON":   {kind(logintest.Post("/auth/refresh", `{"refresh_token":"x","refresh_token":"x"}`), "application/json"), 400, "invalid_request"},
		"number in JSON":     {kind(logintest.Post("/auth/refresh", `{"refresh_token":1}`), "application/json"), 400, "invalid_request"},
		"text":               {kind(logintest.Post("/auth/refresh", "x"), "text/plain"), 400, "invalid_request"},
		"no content type":    {kind(logintest.Post("/auth/refresh", "x"), ""), 400, "invalid_request"},
		"too large":          {logintest.Post("/auth/refresh", strings.Repeat("x", maxRefreshBody+1)), 413, "invalid_request"},
		"truncated body":     {broken, 400, "invalid_request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			a := logintest.Send(t, chain(t, w, unreached(t)), tt.request, nil)
			if a.Code != tt.want || a.Text("error") != tt.error || a.Header().Get("Cache-Control") != "no-store" || a.Err != nil {
				t.Fatalf("status %d, %s", a.Code, a.Body)
			}
			if len(a.Info.Decisions) != 1 || len(w.Events) != 1 {
				t.Errorf("decisions %v, events %v", a.Info.Decisions, w.Events)
			}
		})
	}
}

// TestRefusalsLookAlike: the response does not tell why a refresh token is invalid; only the log does.
func TestRefusalsLookAlike(t *testing.T) {
	w := logintest.New(t, logintest.Options{Bind: session.BindUserAgent})
	h := chain(t, w, unreached(t))
	used, idle, bound := w.Login(t, "a"), w.Login(t, "b"), w.Login(t, "c")
	if _, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(used), logintest.Chrome()); err != nil {
		t.Fatal(err)
	}
	responses := map[string]bool{}
	try := func(r *http.Request) {
		a := logintest.Send(t, h, r, nil)
		responses[a.Result().Status+a.Body.String()] = true
	}
	try(logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(used)))
	try(logintest.Post("/auth/refresh", "refresh_token=x"))
	try(logintest.With(logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(bound)), "User-Agent", "curl/8"))
	w.Offset = 2 * time.Hour
	try(logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(idle)))
	if len(responses) != 1 {
		t.Errorf("responses differ: %v", responses)
	}
}

// FuzzParseRefresh checks that a returned token was in the body, and that errors are client errors.
func FuzzParseRefresh(f *testing.F) {
	f.Add("application/json", []byte(`{"grant_type":"refresh_token","refresh_token":"x"}`))
	f.Add("application/x-www-form-urlencoded", []byte("grant_type=refresh_token&refresh_token=x"))
	f.Add("text/plain; a=b", []byte("x"))
	carrier, err := transport.NewTokenTransport(transport.TokenTransportConfig{Delivery: transport.Body})
	if err != nil {
		f.Fatal(err)
	}
	e := &endpoints{Config: Config{TokenTransport: carrier}}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest("POST", "/auth/refresh", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		token, err := e.refreshToken(r)
		var bad *bodyError
		switch {
		case err == nil && token == "":
			t.Error("no token and no error")
		case err != nil && !errors.As(err, &bad) && !errors.Is(err, errNoToken):
			t.Errorf("error %v is not a client error", err)
		}
	})
}
