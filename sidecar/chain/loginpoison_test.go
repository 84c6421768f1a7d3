package chain

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestPoisonedSamples: an attacker cannot make what the app repeats of the attacker's requests the response that others get.
func TestPoisonedSamples(t *testing.T) { overBoth(t, poisonedSamples) }

func poisonedSamples(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	const evil = "https://evil.example/x"
	tests := map[string]func(addr, account string) sent{
		"the query": func(_, account string) sent {
			return sent{path: "/login?next=" + url.QueryEscape(evil), body: "email=" + account}
		},
		"the form": func(_, account string) sent {
			return sent{path: "/login", body: "next=" + url.QueryEscape(evil) + "&email=" + account}
		},
		"a header": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + account, header: http.Header{"Referer": {evil}}}
		},
		"a cookie": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + account, cookies: []*http.Cookie{{Name: "flash", Value: evil}}}
		},
		"the browser's name": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + account, header: http.Header{"User-Agent": {evil}}}
		},
		"the name of a field": func(_, account string) sent {
			return sent{path: "/login", body: url.QueryEscape(evil) + "=1&email=" + account}
		},
		"a sentence": func(_, account string) sent {
			return sent{path: "/login", body: "next=Call+0800+123456+because+of+evil+example&email=" + account}
		},
		"one account, from several networks": func(string, string) sent {
			return sent{path: "/login", body: "email=" + url.QueryEscape(`'"><a href='`+evil+`'>`)}
		},
		"accounts with the same name": func(addr, _ string) sent {
			return sent{path: "/login", body: "email=" + url.QueryEscape("ask evil people@"+addr[len(addr)-1:]+".example")}
		},
		"accounts of one domain": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + url.QueryEscape(strings.Replace(account, "@", "@ask-evil-people.", 1))}
		},
		"accounts with the same beginning": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + url.QueryEscape("Click here: "+evil+" to log in. ") + account}
		},
		"the forwarded host": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + account, header: http.Header{"X-Forwarded-Host": {"evil.example"}}}
		},
		"the host": func(_, account string) sent {
			return sent{path: "/login", body: "email=" + account, host: "evil.example"}
		},
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			l := over(loginsBefore(t, refusing(&n, func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				w.WriteHeader(http.StatusUnauthorized)
				text := r.Form.Get("next") + r.Referer() + r.Header.Get("X-Forwarded-Host") + r.Host
				text += strings.Join(slices.Sorted(maps.Keys(r.Form)), ",")
				if strings.Contains(r.UserAgent(), "evil") {
					text += r.UserAgent()
				}
				if c, err := r.Cookie("flash"); err == nil {
					text += c.Value
				}
				_, _ = io.WriteString(w, "<form action="+pythonEscape(text)+">")
				email := r.Form.Get("email")
				name, domain, _ := strings.Cut(email, "@")
				switch {
				case strings.Contains(domain, "evil"):
					_, _ = io.WriteString(w, domain)
				case strings.HasPrefix(name, "ask"):
					_, _ = io.WriteString(w, name)
				case strings.Contains(email, " "):
					_, _ = io.WriteString(w, pythonEscape(fmt.Sprintf("%.40s", email))+"...")
				}
			}), func(p *compiled.LoginProtection) { p.Routes[0].Account = compiled.RequestField{Form: "email"} }))
			send := func(r sent, addr string) got {
				r.method = "POST"
				if r.host == "" {
					r.host = "shop.example.com"
				}
				if r.header == nil {
					r.header = http.Header{}
				}
				r.header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.header.Set("X-Forwarded-For", addr)
				return l.replicas[0].send(r)
			}
			try := func(i int) got {
				return send(sent{path: "/login", body: "email=ada@example.com"}, fmt.Sprintf("198.51.100.%d", i))
			}
			for i := range 5 {
				try(i)
			}
			for i := range 4 { // the attacker's are the latest
				addr := fmt.Sprintf("203.0.113.%d", i)
				send(request(addr, fmt.Sprintf("user%d@example.com", i)), addr)
			}
			g := try(9)
			if g.code() == "login-failed" {
				t.Errorf("the app's response is not repeated: %s", g.text)
			}
			if n.Load() != 9 || strings.Contains(g.text, "evil") {
				t.Errorf("%d requests reached the app; a locked account gets %s", n.Load(), g.text)
			}
		})
	}
}

// pythonEscape escapes text as html.escape of Python does.
func pythonEscape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;").Replace(text)
}

// TestSamplesOfPathsWithPlaceholders: where a route has many paths, what the app says on one of them is not repeated on another. It may be
// the page of another tenant, or repeat a path that an attacker has chosen.
func TestSamplesOfPathsWithPlaceholders(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l := loginsBefore(t, refusing(&n, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, strings.Split(r.URL.Path, "/")[2]+" does not know you")
	}), func(p *compiled.LoginProtection) { p.Routes[0].Match[0].Paths = []string{"/public/*/login"} })
	try := func(tenant, account string, i int) got {
		return l.send("/public/"+tenant+"/login", "application/json", fmt.Sprintf(`{"email":%q}`, account), fmt.Sprintf("203.0.113.%d", i))
	}
	for i := range 4 {
		try("globex", fmt.Sprintf("user%d", i), i)
		try("acme", fmt.Sprintf("user%d", i), i)
	}
	for i := range 5 {
		try("shop", "ada", i)
	}
	before := n.Load()
	for tenant, want := range map[string]string{"acme": "acme does not know you", "globex": "globex does not know you"} {
		if g := try(tenant, "ada", 9); g.status != 401 || g.text != want {
			t.Errorf("a locked account at %s gets %d %s", tenant, g.status, g.text)
		}
	}
	if g := try("evil", "ada", 9); g.status != 401 || g.code() != "login-failed" || n.Load() != before {
		t.Errorf("a locked account at a new path gets %d %s", g.status, g.text)
	}
}

// TestManyHostsCrowdOutNoSample: an attacker who names many hosts does not keep the sidecar from remembering the response for another host.
func TestManyHostsCrowdOutNoSample(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l := loginsBefore(t, refusing(&n, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no such account at "+r.Host)
	}), nil)
	i := 0
	try := func(host, account string) got {
		i++
		return l.replicas[0].send(sent{method: "POST", path: "/login", host: host, body: fmt.Sprintf(`{"email":%q}`, account), header: http.Header{
			"Content-Type": {"application/json"}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", i%250)},
		}})
	}
	for host := range 100 {
		for account := range 2 {
			try(fmt.Sprintf("host%d.example", host), fmt.Sprintf("user%d-%d", host, account))
		}
	}
	for range 6 {
		try("shop.example.com", fmt.Sprintf("customer%d", i))
	}
	for range 5 {
		try("shop.example.com", "ada")
	}
	if g := try("shop.example.com", "ada"); n.Load() != 211 || g.text != "no such account at shop.example.com" {
		t.Errorf("%d requests reached the app; a locked account gets %d %s", n.Load(), g.status, g.text)
	}
}

// TestSamplesOfDomains: a response that names the domain of the account is repeated to accounts of this domain, and to no others.
func TestSamplesOfDomains(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l := loginsBefore(t, refusing(&n, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, domain, _ := strings.Cut(string(body), "@")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no such account of "+strings.Split(domain, `"`)[0])
	}), nil)
	for i := range 4 {
		for _, domain := range []string{"shop.example", "other.example"} {
			l.attempt(fmt.Sprintf("203.0.113.%d", i), fmt.Sprintf("user%d@%s", i, domain), "guess")
		}
	}
	for _, account := range []string{"ada@shop.example", "ada@other.example"} {
		for i := range 5 {
			l.attempt(fmt.Sprintf("198.51.100.%d", i), account, "guess")
		}
	}
	for account, want := range map[string]string{"ada@shop.example": "no such account of shop.example", "ada@other.example": "no such account of other.example"} {
		if g := l.attempt("198.51.100.9", account, "guess"); g.status != 401 || g.text != want {
			t.Errorf("%s gets %d %s", account, g.status, g.text)
		}
	}
	if n.Load() != 18 {
		t.Errorf("%d requests reached the app; want 18", n.Load())
	}
}
