package chain

import (
	"crypto/sha1" //nolint:gosec // the format of the list
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
)

const goodPassword = "tidal lantern orbit 7"

// registers is a policy whose rules hold on POST /register, for JSON and forms.
func registers(change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Authorization.Rules[0].Match[0].Paths = append(p.Authorization.Rules[0].Match[0].Paths, "/register", "/profile")
		p.Passwords = &compiled.Passwords{Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1}
		p.PasswordPolicy = &compiled.PasswordPolicy{
			Mode: compiled.Enforce, MinLength: 15, MaxLength: 128, Common: true, ContextWords: []string{"shop"}, MinScore: 3,
			Routes: []compiled.PasswordRoute{{
				Match:        []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/register"}}},
				Password:     compiled.PasswordField{JSON: "user.password", Form: "password"},
				Confirmation: &compiled.PasswordField{JSON: "user.password2", Form: "password2"},
				Account:      &compiled.PasswordField{JSON: "user.email", Form: "email"},
			}, {
				Match:    []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/profile"}}},
				Password: compiled.PasswordField{JSON: "password", Form: "password"}, Optional: true,
			}},
		}
		if change != nil {
			change(p)
		}
	})
}

// echoed makes the app return the body that it got.
func (w *world) echoed() *world {
	w.app.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.reached.Add(1)
		_, _ = io.Copy(rw, r.Body)
	})
	return w
}

func registration(kind, accept, body string) sent {
	return sent{method: "POST", path: "/register", body: body, header: http.Header{"Content-Type": {kind}, "Accept": {accept}}}
}

func account(password, again, email string) string {
	quote := func(s string) string { return strings.ReplaceAll(s, `"`, `\"`) }
	return `{"user":{"password":"` + quote(password) + `","password2":"` + quote(again) + `","email":"` + quote(email) + `"}}`
}

// failed returns the failures of a response, as field:code.
func (g got) failed() (failed []string) {
	list, _ := g.json["errors"].([]any)
	for _, e := range list {
		e := e.(map[string]any)
		failed = append(failed, e["field"].(string)+":"+e["code"].(string))
		if e["detail"] == "" {
			failed = append(failed, "without a detail")
		}
	}
	return failed
}

// TestNewPasswords is the table of docs/password-policy.md: what the sidecar answers to each registration.
func TestNewPasswords(t *testing.T) {
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	form := func(password, again string) string {
		return url.Values{"password": {password}, "password2": {again}, "email": {"ada@example.com"}}.Encode()
	}
	same := func(password string) string { return account(password, password, "ada.lovelace@example.com") }
	tests := map[string]struct {
		kind, body string
		wantStatus int
		want       []string
		wantCode   string
	}{
		"a good password":               {asJSON, same(goodPassword), 200, nil, ""},
		"a good password in a form":     {asForm, form(goodPassword, goodPassword), 200, nil, ""},
		"a good password not in Latin":  {asJSON, same("лунный фонарь над рекой"), 200, nil, ""},
		"spaces and emoji":              {asJSON, same("🐙 tidal lantern 🦊 orbit"), 200, nil, ""},
		"short":                         {asJSON, same("q8#vLw"), 422, []string{"user.password:too-short", "user.password:too-weak"}, "password-refused"},
		"empty":                         {asJSON, same(""), 422, []string{"user.password:too-short", "user.password:too-weak"}, "password-refused"},
		"short by NFKC's expansion":     {asJSON, same("ﷺ"), 422, []string{"user.password:too-short"}, "password-refused"},
		"combining marks do not count":  {asJSON, same(strings.Repeat("é", 10)), 422, []string{"user.password:too-short", "user.password:common", "user.password:too-weak"}, "password-refused"},
		"too long":                      {asJSON, same(strings.Repeat("tidal lantern ", 10)), 422, []string{"user.password:too-long"}, "password-refused"},
		"common":                        {asJSON, same("1234567890123456"), 422, []string{"user.password:common", "user.password:too-weak"}, "password-refused"},
		"common in full width":          {asJSON, same("ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ"), 422, []string{"user.password:common", "user.password:too-weak"}, "password-refused"},
		"common in capitals":            {asJSON, same("PASSWORDpassword"), 422, []string{"user.password:common", "user.password:too-weak"}, "password-refused"},
		"the account":                   {asJSON, same("Ada.Lovelace@2024"), 422, []string{"user.password:context-word", "user.password:too-weak"}, "password-refused"},
		"the service":                   {asJSON, same("Shop-Shop!Shop#7"), 422, []string{"user.password:context-word", "user.password:too-weak"}, "password-refused"},
		"NUL":                           {asJSON, same(goodPassword + `\u0000`), 422, []string{"user.password:invalid-characters"}, "password-refused"},
		"a wrong confirmation":          {asJSON, account(goodPassword, goodPassword+"x", "a@b"), 422, []string{"user.password2:confirmation-mismatch"}, "password-refused"},
		"a wrong confirmation, in form": {asForm, form(goodPassword, ""), 422, []string{"password2:confirmation-mismatch"}, "password-refused"},
		"no password":                   {asJSON, `{"user":{"email":"a@b"}}`, 422, []string{"user.password:missing"}, "password-refused"},
		"no body":                       {asJSON, "", 422, []string{"user.password:missing"}, "password-refused"},
		"null":                          {asJSON, `{"user":{"password":null}}`, 422, []string{"user.password:missing"}, "password-refused"},
		"a number":                      {asJSON, `{"user":{"password":1}}`, 400, nil, "malformed-body"},
		"twice in JSON":                 {asJSON, `{"user":{"password":"` + goodPassword + `","password":"x"}}`, 400, nil, "malformed-body"},
		"twice in a form":               {asForm, "password=x&" + form(goodPassword, goodPassword), 400, nil, "malformed-body"},
		"a lone surrogate":              {asJSON, same(`\ud800` + goodPassword), 400, nil, "malformed-body"},
		"too deep":                      {asJSON, `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 400, nil, "malformed-body"},
		"multipart":                     {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nx\r\n--b--\r\n", 415, nil, "unsupported-body"},
		"another charset":               {asJSON + "; charset=utf-16", same(goodPassword), 415, nil, "unsupported-body"},
		"200 KiB":                       {asJSON, same(strings.Repeat("x", 200<<10)), 413, nil, "body-too-large"},
	}
	w := newWorld(t).echoed()
	s := w.sidecar(registers(nil))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, before := s.in(t), w.reached.Load()
			g := s.send(registration(tt.kind, "", tt.body))
			if g.status != tt.wantStatus || g.code() != tt.wantCode || !slices.Equal(g.failed(), tt.want) {
				t.Fatalf("%d %s %v; want %d %s %v", g.status, g.code(), g.failed(), tt.wantStatus, tt.wantCode, tt.want)
			}
			if reached := w.reached.Load() - before; (reached == 1) != (tt.wantStatus == 200) {
				t.Errorf("%d requests reached the app", reached)
			}
			if tt.wantStatus == 200 && g.text != tt.body {
				t.Errorf("the app got %q; want %q", g.text, tt.body)
			}
			if tt.wantStatus == 422 && (g.header.Get("Cache-Control") != "no-store" || g.header.Get("Content-Type") != "application/problem+json") {
				t.Errorf("headers %v", g.header)
			}
		})
	}
}

// TestARefusalHasNoPassword: neither a problem, a page nor a log line has a part of the password.
func TestARefusalHasNoPassword(t *testing.T) {
	w := newWorld(t).echoed()
	s := w.sidecar(registers(nil))
	for accept, want := range map[string]string{"": "application/problem+json", "application/json, text/html": "application/problem+json", "text/html,*/*;q=0.8": "text/html; charset=utf-8"} {
		body := url.Values{"password": {"zqxj<b>"}, "password2": {"zqxj<i>"}, "email": {"vwkf@example.com"}}.Encode()
		r := registration("application/x-www-form-urlencoded", accept, body)
		r.header.Set("Referer", "https://evil.example.com/")
		g := s.send(r)
		if g.status != 422 || g.header.Get("Content-Type") != want || g.header.Get("Location") != "" || !strings.Contains(g.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("Accept %q: %d %v", accept, g.status, g.header)
		}
		if strings.Contains(g.text, "zqxj") || strings.Contains(g.text, "vwkf") || !strings.Contains(g.text, "at least 15 characters") {
			t.Errorf("Accept %q: %s", accept, g.text)
		}
	}
}

// TestOtherRequestsAreNotJudged: other methods and paths, and requests that change no password on an optional route, pass.
func TestOtherRequestsAreNotJudged(t *testing.T) {
	w := newWorld(t).echoed()
	s := w.sidecar(registers(nil))
	weak, asJSON := `{"password":"x"}`, http.Header{"Content-Type": {"application/json"}}
	for name, tt := range map[string]struct {
		sent
		want int
	}{
		"another method":           {sent{method: "PUT", path: "/register", body: weak, header: asJSON}, 200},
		"another path":             {sent{method: "POST", path: "/public/a", body: weak, header: asJSON}, 200},
		"optional, without":        {sent{method: "POST", path: "/profile", body: `{"name":"Ada"}`, header: asJSON}, 200},
		"optional, empty":          {sent{method: "POST", path: "/profile", body: `{"password":""}`, header: asJSON}, 200},
		"optional, weak":           {sent{method: "POST", path: "/profile", body: weak, header: asJSON}, 422},
		"the path in another form": {sent{method: "POST", path: "/%72egister/", body: weak, header: asJSON}, 422},
	} {
		t.Run(name, func(t *testing.T) {
			if g := s.in(t).send(tt.sent); g.status != tt.want {
				t.Errorf("%d %s; want %d", g.status, g.text, tt.want)
			}
		})
	}
}

// TestPasswordsInShadow: refusals in shadow mode are counted by rule, and pass.
func TestPasswordsInShadow(t *testing.T) {
	const weak = "shop-orbit"
	tests := map[string]struct {
		change func(*compiled.Policy)
		want   []string // of the response
		mode   map[string]string
	}{
		"enforced":             {nil, []string{"user.password:too-short", "user.password:context-word", "user.password:too-weak"}, map[string]string{"too-short": "enforce", "context-word": "enforce", "too-weak": "enforce"}},
		"one rule in shadow":   {func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"context-word", "too-weak"} }, []string{"user.password:too-short"}, map[string]string{"too-short": "enforce", "context-word": "shadow", "too-weak": "shadow"}},
		"section in shadow":    {func(p *compiled.Policy) { p.PasswordPolicy.Mode = compiled.Shadow }, nil, map[string]string{"too-short": "shadow", "context-word": "shadow", "too-weak": "shadow"}},
		"the policy in shadow": {func(p *compiled.Policy) { p.Mode = compiled.Shadow }, nil, map[string]string{"too-short": "shadow", "context-word": "shadow", "too-weak": "shadow"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).echoed()
			w.registry = prometheus.NewRegistry()
			s := w.sidecar(registers(tt.change))
			route := s.send(registration("application/json", "", account(weak, weak, "a@b")))
			api := s.loopback("POST", "/v1/passwords/hash", `{"password":"`+weak+`","account":"a@b"}`)
			wantStatus := map[bool]int{true: 200, false: 422}[tt.want == nil]
			if route.status != wantStatus || !slices.Equal(route.failed(), tt.want) {
				t.Errorf("route: %d %v; want %v", route.status, route.failed(), tt.want)
			}
			var want []string
			for _, failure := range tt.want {
				want = append(want, strings.TrimPrefix(failure, "user."))
			}
			if api.status != wantStatus || !slices.Equal(api.failed(), want) {
				t.Errorf("hash: %d %s; want %v", api.status, api.text, want)
			}
			for rule, mode := range tt.mode {
				if n := counted(t, w.registry, rule, mode); n != 2 {
					t.Errorf("%s in mode %s was counted %v times; want 2", rule, mode, n)
				}
			}
		})
	}
}

// counted returns postern_decisions_total of a rule of the password policy.
func counted(t *testing.T, registry *prometheus.Registry, rule, mode string) (n float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "postern_decisions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["stage"] == "password-policy" && labels["rule"] == rule && labels["mode"] == mode && labels["code"] == "password-refused" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestJudgingIsNoOracle: the refusal of a password depends on the request alone, not on whether the account exists, because the app
// is not asked.
func TestJudgingIsNoOracle(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	w.app.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := w.sidecar(registers(nil))
	a := s.send(registration("application/json", "", account("short", "short", "known@example.com")))
	b := s.send(registration("application/json", "", account("short", "short", "other@example.com")))
	if withoutID(a.text) != withoutID(b.text) || a.status != 422 || b.status != 422 || asked.Load() != 0 {
		t.Errorf("%d %s; %d %s; the app was asked %d times", a.status, a.text, b.status, b.text, asked.Load())
	}
}

// TestBreachedPasswords: a real server with the range API decides, on the route and for the hash endpoint, and gets no more than five digits.
func TestBreachedPasswords(t *testing.T) {
	sum := sha1.Sum([]byte(goodPassword)) //nolint:gosec // the format of the list
	digest := strings.ToUpper(hex.EncodeToString(sum[:]))
	var asked atomic.Int64
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/range/"+digest[:5] && len(r.URL.Path) != len("/range/")+5 {
			t.Errorf("the list was asked for %s", r.URL)
		}
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("0", 35)+":7\r\n"+digest[5:]+":3\r\n")
	}))
	defer server.Close()
	tests := map[string]struct {
		minCount   int
		onFailure  compiled.FailureMode
		away       bool
		shadow     []string
		password   string
		wantStatus int
		wantCode   string
		wantFailed []string
	}{
		"in the list":              {3, compiled.Allow, false, nil, goodPassword, 422, "password-refused", []string{"user.password:breached"}},
		"too seldom in the list":   {4, compiled.Allow, false, nil, goodPassword, 200, "", nil},
		"not in the list":          {1, compiled.Deny, false, nil, goodPassword + "8", 200, "", nil},
		"in the list, in shadow":   {1, compiled.Deny, false, []string{"breached"}, goodPassword, 200, "", nil},
		"away, Allow":              {1, compiled.Allow, true, nil, goodPassword, 200, "", nil},
		"away, Deny":               {1, compiled.Deny, true, nil, goodPassword, 503, "password-check-unavailable", nil},
		"away, Deny, in shadow":    {1, compiled.Deny, true, []string{"breached"}, goodPassword, 200, "", nil},
		"away, Deny, and too weak": {1, compiled.Deny, true, nil, "x", 422, "password-refused", []string{"user.password:too-short", "user.password:too-weak"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			away.Store(tt.away)
			before := asked.Load()
			w := newWorld(t).echoed()
			s := w.sidecar(registers(func(p *compiled.Policy) {
				p.PasswordPolicy.Shadow = tt.shadow
				p.PasswordPolicy.Breached = &compiled.BreachedPasswords{URL: server.URL + "/range", Timeout: compiled.Duration(5 * time.Second), MinCount: tt.minCount, OnFailure: tt.onFailure}
			}))
			g := s.send(registration("application/json", "", account(tt.password, tt.password, "a@b")))
			if g.status != tt.wantStatus || g.code() != tt.wantCode || !slices.Equal(g.failed(), tt.wantFailed) {
				t.Errorf("%d %s %v", g.status, g.text, g.failed())
			}
			if api := s.loopback("POST", "/v1/passwords/hash", `{"password":"`+tt.password+`"}`); api.status != tt.wantStatus || api.code() != tt.wantCode {
				t.Errorf("hash: %d %s", api.status, api.text)
			}
			if asked.Load() != before+2 {
				t.Errorf("the list was asked %d times", asked.Load()-before)
			}
		})
	}
}
