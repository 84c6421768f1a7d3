package chain

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
)

// looksUp is a sidecar with memory, whose list has the only right password and a wrong one.
func looksUp(t *testing.T, mode compiled.Mode, change func(*compiled.LoginProtection)) *logins {
	t.Helper()
	w := newWorld(t)
	w.registry, w.sleep = prometheus.NewRegistry(), func(context.Context, time.Duration) {}
	w.writeList("breached", "pwned.txt", "right", "guess")
	l := &logins{t: t, app: &passwordApp{}}
	w.app.Close()
	w.app = httptest.NewServer(l.app)
	t.Cleanup(w.app.Close)
	policy := loginProtectionPolicy("", func(p *compiled.LoginProtection) {
		p.Routes[0].Password = &compiled.RequestField{JSON: "password"}
		p.Breached = &compiled.BreachedPasswords{
			File: &compiled.VolumeFile{Claim: "breached", Path: "pwned.txt"}, Timeout: compiled.Duration(10 * time.Second), MinCount: 1, OnFailure: compiled.Allow,
		}
		if change != nil {
			change(p)
		}
	})
	policy.Mode = mode
	l.replicas = []*sidecar{w.sidecar(policy).ready()}
	return l
}

// counts are the series of look-ups and of logins with breached passwords.
func (l *logins) counts() string {
	var out []string
	families, err := l.replicas[0].world.registry.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "postern_login_breached_passwords_total":
				if len(m.GetLabel()) != 1 || m.GetLabel()[0].GetName() != "route" {
					l.t.Errorf("labels %v", m.GetLabel())
				}
				out = append(out, fmt.Sprintf("logins %v", m.GetCounter().GetValue()))
			case "postern_login_password_lookups_total":
				if n := m.GetCounter().GetValue(); n > 0 {
					out = append(out, fmt.Sprintf("%s %v", m.GetLabel()[0].GetValue(), n))
				}
			}
		}
	}
	return strings.Join(out, ", ")
}

// told returns the field that the app got with its last request.
func (l *logins) told() string {
	l.app.mu.Lock()
	defer l.app.mu.Unlock()
	var told []string
	for name, values := range l.app.seen[len(l.app.seen)-1] {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "Postern-Password-Breached") { // as WSGI, CGI and PHP read names
			told = append(told, values...)
		}
	}
	return strings.Join(told, ",")
}

// TestBreachedAtLogin: the app is told of a password in the list, also if it is wrong, and of no other. The client is told nothing, and
// successful logins are counted.
func TestBreachedAtLogin(t *testing.T) {
	t.Parallel()
	basic := func(p *compiled.LoginProtection) {
		p.Routes[0].Account, p.Routes[0].Password = compiled.RequestField{Basic: true}, &compiled.RequestField{Basic: true}
	}
	for name, tt := range map[string]struct {
		change     func(*compiled.LoginProtection)
		mode       compiled.Mode
		password   string
		header     string
		body       string
		wantStatus int
		wantTold   string
		wantCounts string
	}{
		"the right password, in the list":    {password: "right", wantStatus: 200, wantTold: "true", wantCounts: "logins 1, listed 1"},
		"a wrong one, in the list":           {password: "guess", wantStatus: 401, wantTold: "true", wantCounts: "logins 0, listed 1"},
		"a wrong one, not in the list":       {password: "other", wantStatus: 401, wantCounts: "logins 0, unlisted 1"},
		"no password":                        {password: "", wantStatus: 401, wantCounts: "logins 0"},
		"too seldom in the list":             {change: func(p *compiled.LoginProtection) { p.Breached.MinCount = 2 }, password: "right", wantStatus: 200, wantCounts: "logins 0, unlisted 1"},
		"a missing list":                     {change: func(p *compiled.LoginProtection) { p.Breached.File.Path = "next.txt" }, password: "right", wantStatus: 200, wantCounts: "logins 0, unavailable 1"},
		"the section in shadow":              {change: func(p *compiled.LoginProtection) { p.Mode = compiled.Shadow }, password: "right", wantStatus: 200, wantCounts: "logins 1, listed 1"},
		"the policy in shadow":               {mode: compiled.Shadow, password: "right", wantStatus: 200, wantCounts: "logins 1, listed 1"},
		"the client's own, in shadow":        {mode: compiled.Shadow, password: "right", header: "Postern-Password-Breached: true", wantStatus: 200, wantCounts: "logins 1, listed 1"},
		"the client's own, with underscores": {password: "other", header: "Postern_Password_Breached: true", wantStatus: 401, wantCounts: "logins 0, unlisted 1"},
		"the field named in Connection":      {password: "right", header: "Connection: Postern-Password-Breached", wantStatus: 200, wantTold: "true", wantCounts: "logins 1, listed 1"},
		"the client's own field":             {password: "other", header: "Postern-Password-Breached: true", wantStatus: 401, wantCounts: "logins 0, unlisted 1"},
		"the client's own field, listed":     {password: "right", header: "postern-password-breached: false", wantStatus: 200, wantTold: "true", wantCounts: "logins 1, listed 1"},
		"Basic authentication": {change: basic, header: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ada:guess")), body: `{"email":"ada","password":"other"}`,
			wantStatus: 401, wantTold: "true", wantCounts: "logins 0, listed 1"},
		"a header": {change: func(p *compiled.LoginProtection) { p.Routes[0].Password = &compiled.RequestField{Header: "X-Password"} }, password: "other",
			header: "X-Password: right", wantStatus: 401, wantTold: "true", wantCounts: "logins 0, listed 1"},
		"an account in a header": {change: func(p *compiled.LoginProtection) { p.Routes[0].Account = compiled.RequestField{Header: "X-Account"} }, password: "right",
			header: "X-Account: ada", wantStatus: 200, wantTold: "true", wantCounts: "logins 1, listed 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.mode == "" {
				tt.mode = compiled.Enforce
			}
			l := looksUp(t, tt.mode, tt.change)
			body := tt.body
			if body == "" {
				body = `{"email":"ada@example.com","password":"` + tt.password + `"}`
			}
			h := http.Header{"Content-Type": {"application/json"}}
			if field, value, ok := strings.Cut(tt.header, ": "); ok {
				h[field] = []string{value}
			}
			g := l.replicas[0].send(sent{method: "POST", path: "/login", header: h, body: body})
			if g.status != tt.wantStatus || l.told() != tt.wantTold || l.counts() != tt.wantCounts {
				t.Errorf("%d %s, the app was told %q, counted %q", g.status, g.text, l.told(), l.counts())
			}
			for field := range g.header {
				if strings.HasPrefix(field, "Postern-") {
					t.Errorf("the client was told %s", field)
				}
			}
		})
	}
}

// TestRefusedAttemptsAreNotLookedUp: neither a locked account nor a request with two passwords gets a look-up, nor does another route.
func TestRefusedAttemptsAreNotLookedUp(t *testing.T) {
	t.Parallel()
	l := looksUp(t, compiled.Enforce, nil)
	for _, body := range []string{`{"email":"eve@example.com","password":"right","password":"other"}`, `{"email":"eve@example.com","password":"right","Password":"other"}`, `{"email":"eve@example.com","password":["right"]}`} {
		if g := l.send("/login", "application/json", body, "203.0.113.1"); g.status != 400 {
			t.Errorf("%s: %d", body, g.status)
		}
	}
	if g := l.send("/login?password=x", "application/json", `{"email":"eve@example.com","password":"right"}`, "203.0.113.1"); g.status != 400 {
		t.Errorf("a password in the query: %d", g.status)
	}
	l.send("/password/reset", "application/x-www-form-urlencoded", "email=ada%40example.com&password=right", "203.0.113.2")
	if got := l.counts(); got != "logins 0" {
		t.Errorf("counted %q", got)
	}
	for range 5 {
		l.attempt("203.0.113.1", "ada@example.com", "guess")
	}
	reached := l.app.count()
	for range 10 {
		if g := l.attempt("203.0.113.1", "ada@example.com", "right"); g.status == 200 {
			t.Fatal("the account is not locked")
		}
	}
	if got := l.counts(); got != "logins 0, listed 5" || l.app.count() != reached {
		t.Errorf("counted %q, the app was reached %d times", got, l.app.count()-reached)
	}
}
