package token

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/session"
)

func TestNewTokenTransport(t *testing.T) {
	tests := map[string]struct {
		delivery Delivery
		sameSite SameSite
		wantErr  bool
	}{
		"body": {Body, "", false}, "lax": {Cookie, Lax, false}, "strict": {Cookie, Strict, false},
		"no delivery": {"", "", true}, "none": {Cookie, "None", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := NewTokenTransport(TokenTransportConfig{Delivery: tt.delivery, SameSite: tt.sameSite})
			if (err != nil) != tt.wantErr {
				t.Fatalf("error = %v", err)
			}
			if err == nil && (c.sameSite == http.SameSiteStrictMode) != (tt.sameSite == Strict) {
				t.Errorf("sameSite = %v", c.sameSite)
			}
		})
	}
	if _, err := NewTokenTransport(TokenTransportConfig{Delivery: Cookie, TrustedOrigins: []string{"app.example.com"}}); err == nil {
		t.Error("an origin without scheme is accepted")
	}
}

// TestLoginFromAnotherOrigin: there is no cookie yet, and the app does not even see it.
func TestLoginFromAnotherOrigin(t *testing.T) {
	tests := map[string]struct {
		delivery Delivery
		site     string
		want     int
	}{
		"cookies, another": {Cookie, "cross-site", 403}, "cookies, same": {Cookie, "same-origin", 200}, "body, another": {Body, "cross-site", 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{delivery: tt.delivery})
			reached := false
			h := w.chain(t, func(rw http.ResponseWriter, r *http.Request) { reached = true; says("a")(rw, r) })
			a := send(t, h, with(post("/login", ""), "Sec-Fetch-Site", tt.site), nil)
			if a.Code != tt.want || reached != (tt.want == 200) {
				t.Errorf("status %d, reached %v; want %d", a.Code, reached, tt.want)
			}
		})
	}
}

// TestCrossOrigin: which requests with our cookies are refused.
func TestCrossOrigin(t *testing.T) {
	get := func(fields ...string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, issuer+"/", nil)
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
		"same origin":                  {unsafe("Sec-Fetch-Site", "same-origin"), false},
		"typed":                        {unsafe("Sec-Fetch-Site", "none"), false},
		"cross site":                   {unsafe("Sec-Fetch-Site", "cross-site"), true},
		"another subdomain":            {unsafe("Sec-Fetch-Site", "same-site"), true},
		"cross site, trusted":          {unsafe("Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com"), false},
		"old browser, same":            {unsafe("Origin", issuer), false},
		"old browser, other":           {unsafe("Origin", "https://evil.example.com"), true},
		"old browser, null":            {unsafe("Origin", "null"), true},
		"no browser":                   {unsafe(), false},
		"safe method":                  {get("Sec-Fetch-Site", "cross-site"), false},
		"WebSocket from another":       {get("Origin", "https://evil.example.com", "Upgrade", "websocket"), true},
		"WebSocket from here":          {get("Origin", issuer, "Upgrade", "websocket"), false},
		"override header is no method": {get("Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "DELETE"), false},
	}
	for name, tt := range tests {
		for cookie, carries := range map[string]bool{AccessCookie: true, RefreshCookie: true, "theme": false} {
			t.Run(name+" "+cookie, func(t *testing.T) {
				w := newWorld(t, options{delivery: Cookie})
				reached := false
				h := w.chain(t, func(rw http.ResponseWriter, _ *http.Request) { reached = true; rw.WriteHeader(204) })
				r := tt.request.Clone(t.Context())
				r.Header.Set("Cookie", cookie+"=x")
				a := send(t, h, r, nil)
				refused := a.err != nil && a.err.Code == "cross-origin" && a.Code == http.StatusForbidden
				if refused != (tt.want && carries) || reached == refused {
					t.Errorf("status %d, %v, reached %v; want refused %v", a.Code, a.err, reached, tt.want && carries)
				}
			})
		}
	}
}

func TestCrossOriginInShadow(t *testing.T) {
	w := newWorld(t, options{delivery: Cookie})
	r := with(with(post("/", ""), "Cookie", AccessCookie+"=x"), "Sec-Fetch-Site", "cross-site")
	a := send(t, w.chain(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }), r, func(i *request.Info) { i.Shadow = true })
	if a.Code != 204 || len(a.info.Decisions) == 0 || !a.info.Decisions[0].Shadow {
		t.Errorf("status %d, %+v", a.Code, a.info.Decisions)
	}
}

// TestRefreshCookieStaysOutside: the app never sees a refresh token, whatever its client calls around it.
func TestRefreshCookieStaysOutside(t *testing.T) {
	token := string(session.NewRefresh(session.NewID()).Token().Reveal())
	tests := map[string]struct {
		cookies []string
		want    string
		wantErr bool
	}{
		"alone":          {[]string{RefreshCookie + "=" + token}, "", false},
		"between others": {[]string{"a=1; " + RefreshCookie + "=" + token + "; b=2"}, "a=1; b=2", false},
		"no space":       {[]string{"a=1;" + RefreshCookie + "=" + token + ";b=2"}, "a=1; b=2", false},
		"several lines":  {[]string{"a=1", RefreshCookie + "=" + token, "b=2"}, "a=1; b=2", false},
		"without value":  {[]string{RefreshCookie + "; a=1"}, "a=1", false},
		"twice":          {[]string{RefreshCookie + "=x; " + RefreshCookie + "=" + token}, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{delivery: Cookie})
			got := "unreached"
			h := w.chain(t, func(rw http.ResponseWriter, r *http.Request) {
				got = strings.Join(r.Header["Cookie"], "|")
				rw.WriteHeader(204)
			})
			r := httptest.NewRequest(http.MethodGet, issuer+"/", nil)
			r.Header["Cookie"] = tt.cookies
			a := send(t, h, r, nil)
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
