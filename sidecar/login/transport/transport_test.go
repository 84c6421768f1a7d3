package transport_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

func TestNewTokenTransport(t *testing.T) {
	tests := map[string]struct {
		delivery transport.Delivery
		sameSite transport.SameSite
		wantErr  bool
	}{
		"body": {transport.Body, "", false}, "lax": {transport.Cookie, transport.Lax, false}, "strict": {transport.Cookie, transport.Strict, false},
		"no delivery": {"", "", true}, "none": {transport.Cookie, "None", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := transport.NewTokenTransport(transport.TokenTransportConfig{Delivery: tt.delivery, SameSite: tt.sameSite})
			if (err != nil) != tt.wantErr {
				t.Fatalf("error = %v", err)
			}
			if err != nil || tt.delivery != transport.Cookie {
				return
			}
			recorder := httptest.NewRecorder()
			c.SetCookies(recorder.Header(), token.Tokens{})
			for _, cookie := range recorder.Result().Cookies() {
				if (cookie.SameSite == http.SameSiteStrictMode) != (tt.sameSite == transport.Strict) {
					t.Errorf("SameSite of %s is %v", cookie.Name, cookie.SameSite)
				}
			}
		})
	}
	if _, err := transport.NewTokenTransport(transport.TokenTransportConfig{Delivery: transport.Cookie, TrustedOrigins: []string{"app.example.com"}}); err == nil {
		t.Error("an origin without scheme is accepted")
	}
}

// TestCrossOrigin covers which requests with our cookies are refused.
func TestCrossOrigin(t *testing.T) {
	get := func(fields ...string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, logintest.Issuer+"/", nil)
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		return r
	}
	unsafe := func(fields ...string) *http.Request {
		r := get(fields...)
		r.Method = http.MethodPost
		return r
	}
	tests := map[string]struct {
		request *http.Request
		want    bool // refused
	}{
		"same origin":                    {unsafe("Sec-Fetch-Site", "same-origin"), false},
		"typed":                          {unsafe("Sec-Fetch-Site", "none"), false},
		"cross site":                     {unsafe("Sec-Fetch-Site", "cross-site"), true},
		"another subdomain":              {unsafe("Sec-Fetch-Site", "same-site"), true},
		"cross site, trusted":            {unsafe("Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com"), false},
		"cross site, trusted label":      {unsafe("Sec-Fetch-Site", "cross-site", "Origin", "https://pr-7.preview.example.com"), false},
		"cross site, two labels":         {unsafe("Sec-Fetch-Site", "cross-site", "Origin", "https://a.b.preview.example.com"), true},
		"cross site, trusted port":       {unsafe("Sec-Fetch-Site", "cross-site", "Origin", "http://localhost:5173"), false},
		"WebSocket, trusted label":       {get("Origin", "https://a.preview.example.com", "Upgrade", "websocket"), false},
		"old browser, same":              {unsafe("Origin", logintest.Issuer), false},
		"old browser, other":             {unsafe("Origin", "https://evil.example.com"), true},
		"old browser, null":              {unsafe("Origin", "null"), true},
		"not a browser":                  {unsafe(), false},
		"safe method":                    {get("Sec-Fetch-Site", "cross-site"), false},
		"WebSocket, other origin":        {get("Origin", "https://evil.example.com", "Upgrade", "websocket"), true},
		"WebSocket, same origin":         {get("Origin", logintest.Issuer, "Upgrade", "websocket"), false},
		"method override header ignored": {get("Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "DELETE"), false},
	}
	for name, tt := range tests {
		for cookie, carries := range map[string]bool{transport.AccessCookie: true, transport.RefreshCookie: true, "theme": false} {
			t.Run(name+" "+cookie, func(t *testing.T) {
				w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
				reached := false
				h := w.Chain(t, logintest.App(func(rw http.ResponseWriter, _ *http.Request) { reached = true; rw.WriteHeader(204) }))
				r := tt.request.Clone(t.Context())
				r.Header.Set("Cookie", cookie+"=x")
				a := logintest.Send(t, h, r, nil)
				refused := a.Err != nil && a.Err.Code == "cross-origin" && a.Code == http.StatusForbidden
				if refused != (tt.want && carries) || reached == refused {
					t.Errorf("status %d, %v, reached %v; want refused %v", a.Code, a.Err, reached, tt.want && carries)
				}
			})
		}
	}
}

func TestCrossOriginInShadow(t *testing.T) {
	w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
	r := logintest.With(logintest.With(logintest.Post("/", ""), "Cookie", transport.AccessCookie+"=x"), "Sec-Fetch-Site", "cross-site")
	a := logintest.Send(t, w.Chain(t, logintest.App(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) })), r, func(i *request.Info) { i.Shadow = true })
	if a.Code != 204 || len(a.Info.Decisions) == 0 || !a.Info.Decisions[0].Shadow {
		t.Errorf("status %d, %+v", a.Code, a.Info.Decisions)
	}
}

// TestRefreshCookieIsRemoved: the app never sees a refresh token, regardless of the client's other cookies.
func TestRefreshCookieIsRemoved(t *testing.T) {
	token := string(session.NewRefresh(session.NewID()).Token().Reveal())
	tests := map[string]struct {
		cookies []string
		want    string
		wantErr bool
	}{
		"alone":                 {[]string{transport.RefreshCookie + "=" + token}, "", false},
		"between other cookies": {[]string{"a=1; " + transport.RefreshCookie + "=" + token + "; b=2"}, "a=1; b=2", false},
		"no space":              {[]string{"a=1;" + transport.RefreshCookie + "=" + token + ";b=2"}, "a=1; b=2", false},
		"several lines":         {[]string{"a=1", transport.RefreshCookie + "=" + token, "b=2"}, "a=1; b=2", false},
		"without value":         {[]string{transport.RefreshCookie + "; a=1"}, "a=1", false},
		"twice":                 {[]string{transport.RefreshCookie + "=x; " + transport.RefreshCookie + "=" + token}, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
			got := "unreached"
			h := w.Chain(t, logintest.App(func(rw http.ResponseWriter, r *http.Request) {
				got = strings.Join(r.Header["Cookie"], "|")
				rw.WriteHeader(204)
			}))
			r := httptest.NewRequest(http.MethodGet, logintest.Issuer+"/", nil)
			r.Header["Cookie"] = tt.cookies
			a := logintest.Send(t, h, r, nil)
			if tt.wantErr {
				if a.Code != 400 || got != "unreached" {
					t.Errorf("status %d, the app got %q", a.Code, got)
				}
				return
			}
			if a.Code != 204 || got != tt.want {
				t.Errorf("status %d, the app got %q; want %q", a.Code, got, tt.want)
			}
		})
	}
}

// TestMalformedCookiesAreDeleted: the browser would otherwise send them for as long as they live. The response is not cached.
func TestMalformedCookiesAreDeleted(t *testing.T) {
	refresh := string(session.NewRefresh(session.NewID()).Token().Reveal())
	tests := map[string]struct {
		cookies     string
		wantAccess  bool
		wantRefresh bool
	}{
		"none":                {"theme=dark", false, false},
		"well-formed":         {transport.AccessCookie + "=a.b.c; " + transport.RefreshCookie + "=" + refresh, false, false},
		"malformed refresh":   {transport.RefreshCookie + "=x", false, true},
		"empty refresh":       {transport.RefreshCookie + "=", false, true},
		"malformed access":    {transport.AccessCookie + "=x", true, false},
		"access of two parts": {transport.AccessCookie + "=a.b", true, false},
		"access with a quote": {transport.AccessCookie + `="a.b.c"`, true, false},
		"empty access":        {transport.AccessCookie + "=", true, false},
		"both":                {transport.AccessCookie + "=; " + transport.RefreshCookie + "=" + refresh + "x", true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
			h := w.Chain(t, logintest.App(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Cache-Control", "public")
				rw.WriteHeader(200)
			}))
			a := logintest.Send(t, h, logintest.With(httptest.NewRequest(http.MethodGet, logintest.Issuer+"/", nil), "Cookie", tt.cookies), nil)
			jar := a.Cookies()
			for cookie, want := range map[string]bool{transport.AccessCookie: tt.wantAccess, transport.RefreshCookie: tt.wantRefresh} {
				if deleted := jar[cookie] != nil && jar[cookie].MaxAge < 0; deleted != want {
					t.Errorf("%s deleted %v; want %v: %v", cookie, deleted, want, a.Header())
				}
			}
			if stored := a.Header().Get("Cache-Control") == "public"; stored != !(tt.wantAccess || tt.wantRefresh) {
				t.Errorf("Cache-Control %q", a.Header().Get("Cache-Control"))
			}
		})
	}
}
