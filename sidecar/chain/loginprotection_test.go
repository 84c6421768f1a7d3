package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// passwordApp is an app that checks passwords: that of every account is "right". It says the same about unknown accounts.
type passwordApp struct {
	mu    sync.Mutex
	tried int
	seen  []http.Header
}

func (a *passwordApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.tried++
	attempt := a.tried
	a.seen = append(a.seen, r.Header.Clone())
	a.mu.Unlock()
	w.Header().Set("X-App", "shop")
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/password/reset" {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"sent":"if the account exists"}`))
		return
	}
	var given struct{ Email, Password string }
	_ = json.Unmarshal(body, &given)
	switch {
	case given.Password == "broken":
		w.WriteHeader(http.StatusInternalServerError)
	case given.Password != "right":
		w.Header().Set("X-Request-Id", fmt.Sprint(attempt))
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"wrong email or password"}`))
	default:
		w.Header().Set("Postern-Subject", given.Email)
		_, _ = w.Write([]byte(`{"welcome":true}`))
	}
}

func (a *passwordApp) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tried
}

// logins are two replicas in front of a passwordApp.
type logins struct {
	t        *testing.T
	app      *passwordApp
	replicas []*sidecar
	n        int
}

// newLogins starts the replicas, with their state in a real Redis unless memory is set.
func newLogins(t *testing.T, change func(*compiled.LoginProtection)) *logins {
	t.Helper()
	server := redistest.Start(t, redistest.Options{})
	return loginsOn(t, server.Addr, change)
}

func loginsOn(t *testing.T, redis string, change func(*compiled.LoginProtection)) *logins {
	t.Helper()
	w := newWorld(t)
	w.sleep = func(context.Context, time.Duration) {}
	l := &logins{t: t, app: &passwordApp{}}
	w.app.Close()
	w.app = httptest.NewServer(unprobed(l.app.ServeHTTP))
	t.Cleanup(w.app.Close)
	for range 2 {
		l.replicas = append(l.replicas, w.sidecar(loginProtectionPolicy(redis, change)).ready())
	}
	return l
}

func loginProtectionPolicy(redis string, change func(*compiled.LoginProtection)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		if redis != "" {
			onRedis(p, redis)
		}
		p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
		p.Authorization.Rules[0].Match[0].Paths = append(p.Authorization.Rules[0].Match[0].Paths, "/password/reset")
		window := compiled.Duration(15 * time.Minute)
		p.LoginProtection = &compiled.LoginProtection{
			Routes: []compiled.LoginRoute{{
				Name: "login", Kind: "Login", Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/login"}}},
				Account: compiled.RequestField{JSON: "email"}, FailureStatuses: []int{401},
			}, {
				Name: "reset", Kind: "PasswordReset", Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/password/reset"}}},
				Account: compiled.RequestField{Form: "email"},
			}},
			PerAccount: compiled.LoginLimit{Failures: 5, Within: window, LockFor: compiled.Duration(time.Minute), MaxLock: compiled.Duration(time.Hour)},
			PerAddress: compiled.LoginLimit{Failures: 50, Within: window, LockFor: compiled.Duration(5 * time.Minute), MaxLock: compiled.Duration(time.Hour)},
			Global:     compiled.LoginLimit{Failures: 200, Within: window}, KnownDevices: &compiled.LoginLimit{Failures: 5, Within: window},
			ResetsPerAccount: compiled.LoginLimit{Failures: 3, Within: compiled.Duration(time.Hour)}, ResetsPerAddress: compiled.LoginLimit{Failures: 10, Within: compiled.Duration(time.Hour)},
			RememberDevice: compiled.Duration(time.Hour), Response: "Same", OnFailure: compiled.Deny, Mode: compiled.Enforce,
		}
		if change != nil {
			change(p.LoginProtection)
		}
	})
}

// attempt logs in from an address, at the next replica.
func (l *logins) attempt(addr, email, password string, cookies ...*http.Cookie) got {
	l.t.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		l.t.Fatal(err)
	}
	return l.send("/login", "application/json", string(body), addr, cookies...)
}

func (l *logins) send(path, kind, body, addr string, cookies ...*http.Cookie) got {
	l.t.Helper()
	l.n++
	return l.replicas[l.n%len(l.replicas)].send(sent{
		method: "POST", path: path, body: body, cookies: cookies, header: http.Header{"Content-Type": {kind}, "X-Forwarded-For": {addr}},
	})
}

// shape is what a client can tell two responses apart by: the status, the body, and the fields but those of one response.
func shape(g got) string {
	h := g.header.Clone()
	for _, name := range []string{"Date", "X-Request-Id"} {
		h.Del(name)
	}
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		fields = append(fields, name+": "+strings.Join(h[name], ", "))
	}
	return fmt.Sprintf("%d\n%s\n\n%s", g.status, strings.Join(fields, "\n"), g.text)
}

// TestManyAddressesOneAccount: guesses at one account from many addresses, in all its spellings, are stopped exactly after five, at
// whichever replica. The locked account, an unknown one and a wrong password look the same, also if the password is right.
func TestManyAddressesOneAccount(t *testing.T) { overBoth(t, manyAddressesOneAccount) }

func manyAddressesOneAccount(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	wrong := shape(l.attempt("198.51.100.1", "grace@example.com", "x"))
	spellings := []string{"ada@example.com", "ADA@example.com", " ada@example.com", "ａｄａ@example.com", "Ada@Example.COM", "ada@exa\u1d50ple.com", "ada@example.com\t"}
	before := l.app.count()
	for i := range 40 {
		g := l.attempt(fmt.Sprintf("203.0.113.%d", i), spellings[i%len(spellings)], "guess")
		if shape(g) != wrong {
			t.Fatalf("guess %d looks different:\n%s\n\n%s", i, shape(g), wrong)
		}
	}
	if n := l.app.count() - before; n != 5 {
		t.Errorf("%d guesses reached the app; want 5", n)
	}
	if g := l.attempt("203.0.113.200", "ada@example.com", "right"); shape(g) != wrong || len(g.cookies) > 0 {
		t.Errorf("a right guess at a locked account looks different:\n%s", shape(g))
	}
	if g := l.attempt("203.0.113.201", "nobody@example.com", "x"); shape(g) != wrong {
		t.Errorf("an unknown account looks different:\n%s", shape(g))
	}
	if g := l.attempt("203.0.113.202", "ada+shop@example.com", "right"); g.status != 200 {
		t.Errorf("another account: %d %s", g.status, g.text)
	}
}

// TestOneAddressManyAccounts: an address that guesses at many accounts is stopped after fifty, and other addresses are not.
func TestOneAddressManyAccounts(t *testing.T) { overBoth(t, oneAddressManyAccounts) }

func oneAddressManyAccounts(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	for i := range 80 {
		l.attempt("203.0.113.9", fmt.Sprintf("user%d@example.com", i), "guess")
	}
	if n := l.app.count(); n != 50 {
		t.Errorf("%d guesses reached the app; want 50", n)
	}
	if g := l.attempt("203.0.113.9", "ada@example.com", "right"); g.status != 401 {
		t.Errorf("a right guess from the address: %d", g.status)
	}
	if g := l.attempt("198.51.100.1", "ada@example.com", "right"); g.status != 200 {
		t.Errorf("from another address: %d %s", g.status, g.text)
	}
}

// TestParallelGuesses: guesses that are in progress count, so that a thousand at once are not more than five.
func TestParallelGuesses(t *testing.T) { overBoth(t, parallelGuesses) }

func parallelGuesses(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			body := `{"email":"ada@example.com","password":"guess"}`
			_, _ = l.replicas[i%2].try(sent{method: "POST", path: "/login", body: body, header: http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", i)}}})
		})
	}
	all.Wait()
	if n := l.app.count(); n > 5 {
		t.Errorf("%d guesses reached the app; want at most 5", n)
	}
}

// TestLockOutIsNoWeapon: a device that logged in before logs in while the account is locked, with a small number of failures of its own.
func TestLockOutIsNoWeapon(t *testing.T) { overBoth(t, lockOutIsNoWeapon) }

func lockOutIsNoWeapon(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	first := l.attempt("198.51.100.1", "ada@example.com", "right")
	var device *http.Cookie
	for name, c := range first.cookies {
		if strings.HasPrefix(name, "__Host-postern-device-") {
			device = c
		}
	}
	if device == nil || !device.Secure || !device.HttpOnly || device.Path != "/" {
		t.Fatalf("the device cookie is %+v", device)
	}
	for i := range 10 {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
	}
	if g := l.attempt("198.51.100.1", "ada@example.com", "right"); g.status != 401 {
		t.Fatalf("without the cookie: %d; the account should be locked", g.status)
	}
	if g := l.attempt("198.51.100.1", "ada@example.com", "right", device); g.status != 200 {
		t.Errorf("the owner's device: %d %s", g.status, g.text)
	}
	for _, h := range l.app.seen {
		if strings.Contains(h.Get("Cookie"), device.Name) {
			t.Error("the app saw the cookie")
		}
	}
	if g := l.attempt("203.0.113.77", "grace@example.com", "guess", device); g.status != 401 {
		t.Errorf("for another account: %d", g.status)
	}
	forged := *device
	forged.Value = strings.Repeat("A", len(device.Value))
	for _, c := range []*http.Cookie{&forged, {Name: device.Name, Value: "x"}, {Name: device.Name, Value: strings.Repeat("x", 4096)}, {Name: device.Name}} {
		if g := l.attempt("198.51.100.1", "ada@example.com", "right", c); g.status != 401 {
			t.Errorf("a forged cookie %.20q: %d", c.Value, g.status)
		}
	}
	before := l.app.count()
	for i := range 20 {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess", device)
	}
	if n := l.app.count() - before; n != 5 {
		t.Errorf("with a stolen cookie %d guesses reached the app; want 5", n)
	}
}

// TestResets: requests beyond the limit get the same response, whether the account exists.
func TestResets(t *testing.T) { overBoth(t, resets) }

func resets(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	reset := func(addr, email string) got {
		return l.send("/password/reset", "application/x-www-form-urlencoded", "email="+email, addr)
	}
	first := shape(reset("203.0.113.1", "ada@example.com"))
	for i := range 8 {
		if g := shape(reset(fmt.Sprintf("203.0.113.%d", i), "ada@example.com")); g != first {
			t.Fatalf("request %d looks different:\n%s\n\n%s", i, g, first)
		}
	}
	if n := l.app.count(); n != 3 {
		t.Errorf("%d requests reached the app; want 3", n)
	}
	for i := range 20 {
		reset("203.0.113.99", fmt.Sprintf("user%d@example.com", i))
	}
	if n := l.app.count(); n != 13 {
		t.Errorf("%d requests reached the app; want 10 more, of one address", n)
	}
}

// TestLoginOutcomes: what counts as a failure, and what clears the count.
func TestLoginOutcomes(t *testing.T) { overBoth(t, loginOutcomes) }

func loginOutcomes(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	for i := range 20 { // the app is broken: no failures of the account
		if g := l.attempt("198.51.100.1", "ada@example.com", "broken"); g.status != 500 {
			t.Fatalf("attempt %d: %d", i, g.status)
		}
	}
	for range 3 {
		for range 4 {
			l.attempt("198.51.100.2", "ada@example.com", "typo")
		}
		if g := l.attempt("198.51.100.2", "ada@example.com", "right"); g.status != 200 {
			t.Fatalf("after four typos: %d", g.status)
		}
	}
}

// TestLoginBodies: what each kind of body on a protected route gets. A body that apps could read in several ways does not reach the app.
func TestLoginBodies(t *testing.T) { overBoth(t, loginBodies) }

func loginBodies(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	l := over(newLogins(t, nil))
	tests := map[string]struct {
		kind, body string
		want       int
	}{
		"JSON":                  {"application/json", `{"email":"a@b","password":"x"}`, 401},
		"without the account":   {"application/json", `{"password":"x"}`, 401},
		"a member twice":        {"application/json", `{"email":"a@b","email":"c@d","password":"x"}`, 400},
		"in another case":       {"application/json", `{"email":"a@b","Email":"c@d","password":"x"}`, 400},
		"not a string":          {"application/json", `{"email":["a@b"],"password":"x"}`, 400},
		"deep":                  {"application/json", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), 400},
		"cut short":             {"application/json", `{"email":`, 400},
		"large":                 {"application/json", `{"email":"a@b","x":"` + strings.Repeat("x", 1<<17) + `"}`, 413},
		"a form":                {"application/x-www-form-urlencoded", "email=a@b&password=x", 415},
		"multipart":             {"multipart/form-data; boundary=b", "--b--", 415},
		"UTF-16":                {"application/json; charset=utf-16", `{}`, 415},
		"no type":               {"", `{"email":"a@b"}`, 415},
		"an empty body":         {"application/json", "", 401},
		"a very long account":   {"application/json", `{"email":"` + strings.Repeat("a", 60000) + `"}`, 401},
		"an account of spaces":  {"application/json", `{"email":"   "}`, 401},
		"control characters":    {"application/json", `{"email":"a\u0000b\u0007"}`, 401},
		"half a surrogate pair": {"application/json", `{"email":"\ud800"}`, 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := &logins{t: t, app: l.app, replicas: []*sidecar{l.replicas[0].in(t)}}
			before := l.app.count()
			g := l.send("/login", tt.kind, tt.body, "192.0.2.44")
			reached := l.app.count() > before
			if g.status != tt.want || reached != (tt.want == 401) {
				t.Errorf("%d, reached the app: %v, %s; want %d", g.status, reached, g.text, tt.want)
			}
		})
	}
}

// TestLoginWithoutStore: while Redis is unavailable, Deny refuses and Allow counts in each replica.
func TestLoginWithoutStore(t *testing.T) {
	t.Parallel()
	for mode, want := range map[compiled.FailureMode]map[int]int{compiled.Deny: {503: 20}, compiled.Allow: {401: 20}} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			l := loginsOn(t, server.Addr, func(p *compiled.LoginProtection) { p.OnFailure = mode })
			server.Stop()
			redistest.Eventually(t, "the outage to be noticed", func() bool {
				g := l.attempt("203.0.113.1", "warm@example.com", "x")
				return g.status == 503 || mode == compiled.Allow
			})
			before, statuses := l.app.count(), map[int]int{}
			for i := range 20 {
				statuses[l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess").status]++
			}
			if !maps.Equal(statuses, want) {
				t.Errorf("statuses %v; want %v", statuses, want)
			}
			if n := l.app.count() - before; mode == compiled.Allow && n != 10 || mode == compiled.Deny && n != 0 {
				t.Errorf("%d guesses reached the app", n)
			}
		})
	}
}

// TestLoginResponses: TooManyRequests says so, and Shadow refuses nothing.
func TestLoginResponses(t *testing.T) {
	t.Parallel()
	t.Run("TooManyRequests", func(t *testing.T) {
		t.Parallel()
		l := newLogins(t, func(p *compiled.LoginProtection) { p.Response = "TooManyRequests" })
		var last got
		for i := range 6 {
			last = l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
		}
		if last.status != 429 || last.code() != "login-refused" || last.header.Get("Retry-After") != "60" {
			t.Errorf("%d %s, Retry-After %q", last.status, last.text, last.header.Get("Retry-After"))
		}
	})
	t.Run("Shadow", func(t *testing.T) {
		t.Parallel()
		l := newLogins(t, func(p *compiled.LoginProtection) { p.Mode = compiled.Shadow })
		for i := range 12 {
			l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
		}
		if n := l.app.count(); n != 12 {
			t.Errorf("%d of 12 reached the app", n)
		}
	})
	t.Run("a fresh replica", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		l := loginsOn(t, server.Addr, nil)
		var wrong got
		for i := range 8 {
			wrong = l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
		}
		fresh := loginsOn(t, server.Addr, nil)
		if g := fresh.attempt("203.0.113.50", "ada@example.com", "right"); shape(g) != shape(wrong) || fresh.app.count() != 0 {
			t.Errorf("it responds\n%s\n\nwhile the others respond\n%s", shape(g), shape(wrong))
		}
	})
}
