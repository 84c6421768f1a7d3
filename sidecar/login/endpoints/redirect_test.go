package endpoints

import (
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// TestLogoutByForm: a browser that posts a form gets the policy's page. A script, and a policy without a page, get 204 as before.
func TestLogoutByForm(t *testing.T) {
	const page = "/login?from=logout"
	html := []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
	form := append([]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Origin", logintest.Issuer, "Content-Type", "application/x-www-form-urlencoded"}, html...)
	for name, tt := range map[string]struct {
		redirect, path string
		fields         []string
		anonymous      bool
		want           int
	}{
		"form":                         {page, "/auth/logout", form, false, 303},
		"form, all sessions":           {page, "/auth/logout-all", form, false, 303},
		"form, a second time":          {page, "/auth/logout", form, true, 303},
		"form of an old browser":       {page, "/auth/logout", html, false, 303},
		"form, no page":                {"", "/auth/logout", form, false, 204},
		"fetch":                        {page, "/auth/logout", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin", "Accept", "*/*"}, false, 204},
		"fetch that wants HTML":        {page, "/auth/logout", append([]string{"Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Site", "same-origin"}, html...), false, 204},
		"curl":                         {page, "/auth/logout", []string{"Accept", "*/*"}, false, 204},
		"JSON before HTML":             {page, "/auth/logout", []string{"Accept", "application/json, text/html"}, false, 204},
		"form of another origin":       {page, "/auth/logout", append([]string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"}, html...), true, 403},
		"a target in the form's query": {page, "/auth/logout?redirect=https://evil.example&next=//evil.example", form, false, 303},
	} {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{Delivery: transport.Cookie})
			own := w.Login(t, "a")
			metadata, err := NewMetadata(MetadataConfig{Issuer: logintest.Issuer, Prefix: DefaultPrefix, Keys: w.Ring, MaxAge: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: metadata, LogoutRedirect: tt.redirect, ClearSiteData: ClearCache})
			if err != nil {
				t.Fatal(err)
			}
			r := req(http.MethodPost, tt.path)
			for i := 0; i < len(tt.fields); i += 2 {
				r.Header.Set(tt.fields[i], tt.fields[i+1])
			}
			if !tt.anonymous {
				r.Header.Set("Cookie", transport.AccessCookie+"="+own.Token+"; "+transport.RefreshCookie+"="+logintest.RefreshToken(own))
			}
			a := logintest.Send(t, w.Chain(t, logintest.App(unreached(t)), s), r, nil)
			want := ""
			if tt.want == 303 {
				want = page
			}
			if got := a.Header().Get("Location"); a.Code != tt.want || got != want {
				t.Fatalf("status %d, Location %q, %v; want %d, %q", a.Code, got, a.Err, tt.want, want)
			}
			jar := a.Cookies()
			if done := tt.want != 403; done && (a.Header().Get("Clear-Site-Data") != `"cache"` || a.Header().Get("Cache-Control") != "no-store" ||
				len(jar) != 2 || jar[transport.AccessCookie].MaxAge >= 0 || jar[transport.RefreshCookie].MaxAge >= 0) {
				t.Errorf("header %v", a.Header())
			}
			if ended := w.Revocations.Revoked(own.Session.ID); ended == tt.anonymous {
				t.Errorf("the session has ended: %v", ended)
			}
		})
	}
}

// TestLogoutRedirectStaysOnTheHost: the stage refuses to start with a target on another host.
func TestLogoutRedirectStaysOnTheHost(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	for _, target := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "login"} {
		if _, err := New(Config{LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: &Metadata{}, LogoutRedirect: target}); err == nil {
			t.Errorf("%q is accepted", target)
		}
	}
}
