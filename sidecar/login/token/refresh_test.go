package token

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

	"github.com/posterndev/postern/sidecar/login/session"
)

func TestRefreshInBody(t *testing.T) {
	for name, body := range map[string]func(Tokens) *http.Request{
		"form": func(s Tokens) *http.Request {
			return post("/auth/refresh", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshOf(s)}, "client_id": {"x"}}.Encode())
		},
		"JSON": func(s Tokens) *http.Request {
			r := post("/auth/refresh", `{"refresh_token":"`+refreshOf(s)+`"}`)
			r.Header.Set("Content-Type", "application/json; charset=utf-8")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			s := w.login(t, "a")
			a := send(t, w.chain(t, unreached(t)), body(s), nil)
			if a.Code != 200 || a.Header().Get("Cache-Control") != "no-store" || a.text("token_type") != "Bearer" || !a.info.Sensitive {
				t.Fatalf("status %d, %s", a.Code, a.Body)
			}
			if a.text("refresh_token") == refreshOf(s) || a.text("access_token") == s.Token {
				t.Error("the tokens stay the same")
			}
		})
	}
}

func TestRefreshInCookies(t *testing.T) {
	w := newWorld(t, options{delivery: Cookie})
	s := w.login(t, "a")
	h := w.chain(t, unreached(t))
	a := send(t, h, with(post("/auth/refresh", ""), "Cookie", RefreshCookie+"="+refreshOf(s)), nil)
	jar := a.jar()
	if a.Code != 204 || a.Body.Len() != 0 || jar[RefreshCookie] == nil || jar[RefreshCookie].Value == refreshOf(s) || jar[AccessCookie] == nil {
		t.Fatalf("status %d, %v", a.Code, a.Header())
	}
	// Grace is 0 here: the old cookie is a stolen one, and the thief's browser is told to forget.
	a = send(t, h, with(post("/auth/refresh", ""), "Cookie", RefreshCookie+"="+refreshOf(s)), nil)
	if a.Code != 400 || a.text("error") != "invalid_grant" || a.jar()[RefreshCookie].MaxAge >= 0 || !w.revocations.revoked(s.Session.ID) {
		t.Errorf("status %d, %v, %s", a.Code, a.Header(), a.Body)
	}
	if a := send(t, h, post("/auth/refresh", "refresh_token="+refreshOf(s)), nil); a.Code != 400 || a.text("error") != "invalid_request" {
		t.Errorf("a token in the body: status %d, %s", a.Code, a.Body)
	}
}

func TestRefreshRefuses(t *testing.T) {
	kind := func(r *http.Request, contentType string) *http.Request {
		r.Header.Set("Content-Type", contentType)
		return r
	}
	invented := string(session.NewRefresh(session.NewID()).Token().Reveal())
	broken := post("/auth/refresh", "x")
	broken.Body = io.NopCloser(iotest.ErrReader(errors.New("reset")))
	tests := map[string]struct {
		request *http.Request
		want    int
		error   string
	}{
		"no body":          {post("/auth/refresh", ""), 400, "invalid_request"},
		"no token":         {post("/auth/refresh", "grant_type=refresh_token"), 400, "invalid_request"},
		"another grant":    {post("/auth/refresh", "grant_type=password&refresh_token=x"), 400, "unsupported_grant_type"},
		"repeated":         {post("/auth/refresh", "refresh_token=x&refresh_token=x"), 400, "invalid_request"},
		"malformed form":   {post("/auth/refresh", "refresh_token=%zz"), 400, "invalid_request"},
		"malformed token":  {post("/auth/refresh", "refresh_token=x"), 400, "invalid_grant"},
		"unknown token":    {post("/auth/refresh", "refresh_token="+invented), 400, "invalid_grant"},
		"malformed JSON":   {kind(post("/auth/refresh", `{"refresh_token":`), "application/json"), 400, "invalid_request"},
		"repeated in JSON": {kind(post("/auth/refresh", `{"refresh_token":"x","refresh_token":"x"}`), "application/json"), 400, "invalid_request"},
		"number in JSON":   {kind(post("/auth/refresh", `{"refresh_token":1}`), "application/json"), 400, "invalid_request"},
		"text":             {kind(post("/auth/refresh", "x"), "text/plain"), 400, "invalid_request"},
		"no content type":  {kind(post("/auth/refresh", "x"), ""), 400, "invalid_request"},
		"too large":        {post("/auth/refresh", strings.Repeat("x", maxRefreshBody+1)), 413, "invalid_request"},
		"body breaks off":  {broken, 400, "invalid_request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			a := send(t, w.chain(t, unreached(t)), tt.request, nil)
			if a.Code != tt.want || a.text("error") != tt.error || a.Header().Get("Cache-Control") != "no-store" || a.err != nil {
				t.Fatalf("status %d, %s", a.Code, a.Body)
			}
			if len(a.info.Decisions) != 1 || len(w.events) != 1 {
				t.Errorf("decisions %v, events %v", a.info.Decisions, w.events)
			}
		})
	}
}

// TestRefusalsLookAlike: what a token that is not good was, only the log tells.
func TestRefusalsLookAlike(t *testing.T) {
	w := newWorld(t, options{bind: session.BindUserAgent})
	h := w.chain(t, unreached(t))
	used, idle, bound := w.login(t, "a"), w.login(t, "b"), w.login(t, "c")
	mustRefresh(w, refreshOf(used))
	answers := map[string]bool{}
	try := func(r *http.Request) {
		a := send(t, h, r, nil)
		answers[a.Result().Status+a.Body.String()] = true
	}
	try(post("/auth/refresh", "refresh_token="+refreshOf(used)))
	try(post("/auth/refresh", "refresh_token=x"))
	try(with(post("/auth/refresh", "refresh_token="+refreshOf(bound)), "User-Agent", "curl/8"))
	w.offset = 2 * time.Hour
	try(post("/auth/refresh", "refresh_token="+refreshOf(idle)))
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
}

// FuzzParseRefresh checks that a token that comes out was in the body, and that errors are the client's.
func FuzzParseRefresh(f *testing.F) {
	f.Add("application/json", []byte(`{"grant_type":"refresh_token","refresh_token":"x"}`))
	f.Add("application/x-www-form-urlencoded", []byte("grant_type=refresh_token&refresh_token=x"))
	f.Add("text/plain; a=b", []byte("x"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest("POST", "/auth/refresh", bytes.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		token, err := (&endpoints{EndpointsConfig: EndpointsConfig{TokenTransport: &TokenTransport{delivery: Body}}}).refreshToken(r)
		var bad *bodyError
		switch {
		case err == nil && token == "":
			t.Error("neither token nor error")
		case err != nil && !errors.As(err, &bad) && !errors.Is(err, errNoToken):
			t.Errorf("error %v is not the client's", err)
		}
	})
}
