package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestHeaders: every response has them, refused ones too.
func TestHeaders(t *testing.T) {
	b := newConsole(t, newFakeCluster(t), nil)
	refused := b.get("/", nil)
	b.signIn()
	for name, response := range map[string]*http.Response{
		"refused": refused, "wrong host": b.get("/", map[string]string{"Host": "evil.example"}), "page": b.get("/", nil), "missing": b.get("/nothing", nil), "style": b.get("/static/console.css", nil),
		"link": b.get("/start?secret=x", nil), "part": b.get("/", map[string]string{"Postern-Part": "live"}),
	} {
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":           "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if response.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: another origin may read the response", name)
		}
	}
}

// TestGuards: each row is an attack, or its honest counterpart.
func TestGuards(t *testing.T) {
	const end = "/policies/shop/accounts/end"
	own := map[string]string{"Origin": "http://" + testHost, "Sec-Fetch-Site": "same-origin"}
	with := func(name, value string) map[string]string {
		out := map[string]string{"Origin": own["Origin"], "Sec-Fetch-Site": own["Sec-Fetch-Site"]}
		if out[name] = value; value == "" {
			delete(out, name)
		}
		return out
	}
	tests := map[string]struct {
		method, target string
		header         map[string]string
		// cookie replaces the cookie of the browser if it is not empty; "none" sends none.
		cookie string
		// csrf replaces the token of the form if it is not empty; "none" sends none.
		csrf string
		want int
	}{
		"a page":                                 {target: "/", want: 200},
		"a page by the name localhost":           {target: "/", header: map[string]string{"Host": "localhost:41234"}, want: 200},
		"a page by the address bar":              {target: "/", header: map[string]string{"Sec-Fetch-Site": "none"}, want: 200},
		"no cookie":                              {target: "/", cookie: "none", want: 403},
		"a wrong cookie":                         {target: "/", cookie: strings.Repeat("A", 43), want: 403},
		"a short cookie":                         {target: "/", cookie: "x", want: 403},
		"DNS rebinding":                          {target: "/", header: map[string]string{"Host": "evil.example:41234"}, want: 421},
		"DNS rebinding of a style":               {target: "/static/console.css", header: map[string]string{"Host": "evil.example:41234"}, want: 421},
		"another port":                           {target: "/", header: map[string]string{"Host": "127.0.0.1:80"}, want: 421},
		"no port":                                {target: "/", header: map[string]string{"Host": "127.0.0.1"}, want: 421},
		"a name that starts like the console's":  {target: "/", header: map[string]string{"Host": "127.0.0.1:41234.evil.example"}, want: 421},
		"another site loads a page":              {target: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: 403},
		"another port of this machine loads":     {target: "/", header: map[string]string{"Sec-Fetch-Site": "same-site"}, want: 403},
		"another site loads a style, as a probe": {target: "/static/console.css", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: 403},
		"another site loads a part":              {target: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site", "Postern-Part": "live"}, want: 403},
		"a method that changes":                  {method: "DELETE", target: "/", header: own, want: 405},
		"a question of another origin (CORS)":    {method: "OPTIONS", target: "/", want: 405},
		"a long query":                           {target: "/audit?subject=" + strings.Repeat("a", 5000), want: 414},
		"a form":                                 {method: "POST", target: end, header: own, want: 303},
		"a form under no-referrer":               {method: "POST", target: end, header: with("Origin", "null"), want: 303},
		"a form of a browser without Sec-Fetch":  {method: "POST", target: end, header: with("Sec-Fetch-Site", ""), want: 303},
		"a form of another site":                 {method: "POST", target: end, header: map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, want: 403},
		"a form of another site, old browser":    {method: "POST", target: end, header: map[string]string{"Origin": "https://evil.example"}, want: 403},
		"a form of another port":                 {method: "POST", target: end, header: map[string]string{"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}, want: 403},
		"a form of a sandboxed frame":            {method: "POST", target: end, header: map[string]string{"Origin": "null", "Sec-Fetch-Site": "cross-site"}, want: 403},
		"a form of a sandboxed frame, old":       {method: "POST", target: end, header: map[string]string{"Origin": "null"}, want: 403},
		"a form from nowhere":                    {method: "POST", target: end, want: 403},
		"a form with the origin of localhost":    {method: "POST", target: end, header: with("Origin", "http://localhost:41234"), want: 403},
		"a form with https":                      {method: "POST", target: end, header: with("Origin", "https://"+testHost), want: 403},
		"a form by the address bar":              {method: "POST", target: end, header: with("Sec-Fetch-Site", "none"), want: 403},
		"a form without a token":                 {method: "POST", target: end, header: own, csrf: "none", want: 403},
		"a form with a wrong token":              {method: "POST", target: end, header: own, csrf: strings.Repeat("A", 43), want: 403},
		"a form without a cookie":                {method: "POST", target: end, header: own, cookie: "none", want: 403},
		"a form to a page":                       {method: "POST", target: "/", header: own, want: 404},
		"an end by GET":                          {target: end, want: 404},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeCluster(t)
			b := newConsole(t, f, nil).signIn()
			form := url.Values{"csrf": {b.csrf()}, "subject": {"user-42"}, "session": {f.found[0].ID}}
			switch {
			case tt.csrf == "none":
				form.Del("csrf")
			case tt.csrf != "":
				form.Set("csrf", tt.csrf)
			}
			switch {
			case tt.cookie == "none":
				b.cookie = nil
			case tt.cookie != "":
				b.cookie.Value = tt.cookie
			}
			method, body := http.MethodGet, ""
			if tt.method != "" {
				method = tt.method
			}
			if method == http.MethodPost {
				body = form.Encode()
			}
			response := b.do(method, tt.target, body, tt.header)
			if response.StatusCode != tt.want {
				t.Errorf("status %d, want %d: %s", response.StatusCode, tt.want, bodyOf(t, response))
			}
			if ended := len(f.ended) > 0; ended != (tt.want == 303) {
				t.Errorf("sessions ended: %v", f.ended)
			}
		})
	}
}

// TestTokenOfAnotherBrowser: the token of a form belongs to one browser.
func TestTokenOfAnotherBrowser(t *testing.T) {
	f := newFakeCluster(t)
	b := newConsole(t, f, nil).signIn()
	token := b.csrf()
	b.signIn()
	form := url.Values{"csrf": {token}, "subject": {"user-42"}, "session": {"s"}}
	response := b.do(http.MethodPost, "/policies/shop/accounts/end", form.Encode(), map[string]string{"Sec-Fetch-Site": "same-origin"})
	if response.StatusCode != http.StatusForbidden || len(f.ended) > 0 {
		t.Errorf("status %d, ended %v", response.StatusCode, f.ended)
	}
}

func TestSignIn(t *testing.T) {
	b := newConsole(t, newFakeCluster(t), nil)
	link := (*b.links)[0]
	if u, err := url.Parse(link); err != nil || u.Host != testHost || len(u.Query().Get("secret")) != 43 {
		t.Fatalf("link %q", link)
	}
	for name, wrong := range map[string]string{
		"wrong": "/start?secret=" + strings.Repeat("A", 43), "empty": "/start?secret=", "none": "/start", "short": link[:len(link)-1], "long": link + "A",
		"in another parameter": strings.Replace(link, "secret=", "token=", 1),
	} {
		if response := b.get(wrong, nil); response.StatusCode != http.StatusForbidden || len(response.Cookies()) > 0 {
			t.Errorf("%s: status %d, cookies %v", name, response.StatusCode, response.Cookies())
		}
	}
	response := b.get(link, nil)
	if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/" {
		t.Fatalf("status %d, to %q", response.StatusCode, response.Header.Get("Location"))
	}
	c := response.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0 || len(c.Value) != 43 || strings.Contains(link, c.Value) || c.Name != "postern-console-41234" {
		t.Errorf("cookie %s", c)
	}
	if response := b.get(link, nil); response.StatusCode != http.StatusForbidden || len(response.Cookies()) > 0 {
		t.Errorf("the link works twice: %d", response.StatusCode)
	}
	if len(*b.links) != 2 || (*b.links)[1] == link {
		t.Errorf("links %d", len(*b.links))
	}
}

// TestSignInFromAnotherSite: after a redirect that another site began, for example a terminal in a browser, browsers do not send a Strict cookie.
func TestSignInFromAnotherSite(t *testing.T) {
	b := newConsole(t, newFakeCluster(t), nil)
	response := b.get((*b.links)[0], map[string]string{"Sec-Fetch-Site": "cross-site"})
	if response.StatusCode != http.StatusOK || response.Header.Get("Refresh") != "0; url=/" || len(response.Cookies()) != 1 || !strings.Contains(bodyOf(t, response), `<a href="/">`) {
		t.Errorf("status %d, refresh %q", response.StatusCode, response.Header.Get("Refresh"))
	}
}

// TestSignInEnds: after its time, and when too many newer ones exist.
func TestSignInEnds(t *testing.T) {
	at := now
	b := newConsole(t, newFakeCluster(t), func(c *Config) { c.Now = func() time.Time { return at } }).signIn()
	first := b.cookie
	at = at.Add(signInLife)
	if response := b.get("/", nil); response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d after the time", response.StatusCode)
	}
	at = now
	for range maxSignIns {
		b.signIn()
	}
	b.cookie = first
	if response := b.get("/", nil); response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d of the oldest of too many", response.StatusCode)
	}
}

// TestPlaces: more requests than the bound wait, and those that wait too long are refused. One read of the cluster serves all.
func TestPlaces(t *testing.T) {
	f := newFakeCluster(t)
	f.wait = make(chan struct{})
	b := newConsole(t, f, nil).signIn()
	done := make(chan int, 2*maxServed)
	for range 2 * maxServed {
		go func() { done <- b.get("/", nil).StatusCode }()
	}
	for deadline := time.Now().Add(time.Minute); len(b.console.places) < maxServed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the requests do not arrive")
		}
	}
	close(f.wait)
	for range 2 * maxServed {
		if status := <-done; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	if f.reads != 1 {
		t.Errorf("%d reads of the cluster for %d requests at the same time", f.reads, 2*maxServed)
	}
}

// TestFormSize: a large form is refused.
func TestFormSize(t *testing.T) {
	f := newFakeCluster(t)
	b := newConsole(t, f, nil).signIn()
	form := url.Values{"csrf": {b.csrf()}, "subject": {strings.Repeat("a", maxForm)}, "confirm": {"yes"}}
	response := b.do(http.MethodPost, "/policies/shop/accounts/end", form.Encode(), map[string]string{"Sec-Fetch-Site": "same-origin"})
	if response.StatusCode != http.StatusBadRequest || len(f.ended) > 0 {
		t.Errorf("status %d, ended %v", response.StatusCode, f.ended)
	}
}
