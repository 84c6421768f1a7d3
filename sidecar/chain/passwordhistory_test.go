package chain

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// accounts are two replicas in front of an app where users register, change their password and log in. The app accepts every password; with
// the query ?status= it responds with that status.
type accounts struct {
	t        *testing.T
	server   *redistest.Server
	replicas []*sidecar
	n        int

	mu      sync.Mutex
	reached int
	expired []string // the header of each login
}

func (a *accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var given struct{ Email string }
	_ = json.Unmarshal(body, &given)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reached++
	if r.URL.Path == "/login" || r.URL.Path == "/password/reset" {
		w.Header().Set("Postern-Subject", given.Email)
		a.expired = append(a.expired, strings.Join(r.Header.Values("Postern-Password-Expired"), ","))
	}
	if s := r.URL.Query().Get("status"); s != "" {
		status := 0
		_, _ = fmt.Sscan(s, &status)
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, "{}")
}

// historyPolicy remembers passwords, of POST /register without a token and of POST /password with one.
func historyPolicy(redis string, change func(*compiled.Policy)) *compiled.Policy {
	p := loginProtectionPolicy(redis, nil)
	p.Authorization.Rules[0].Match[0].Paths = append(p.Authorization.Rules[0].Match[0].Paths, "/register")
	p.Passwords = &compiled.Passwords{Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1}
	p.PasswordPolicy = &compiled.PasswordPolicy{
		Mode: compiled.Enforce, MinLength: 8, MaxLength: 128,
		History: &compiled.PasswordHistory{Remember: 3, AccountClaim: "sub", OnFailure: compiled.Deny},
		Routes: []compiled.PasswordRoute{{
			Match:    []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/register", "/password"}}},
			Password: compiled.PasswordField{JSON: "password"}, Account: &compiled.PasswordField{JSON: "email"},
		}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func newAccounts(t *testing.T, change func(*compiled.Policy)) *accounts {
	t.Helper()
	a := &accounts{t: t, server: redistest.Start(t, redistest.Options{})}
	w := newWorld(t)
	w.app.Close()
	w.app = httptest.NewServer(a)
	t.Cleanup(w.app.Close)
	for range 2 {
		a.replicas = append(a.replicas, w.sidecar(historyPolicy(a.server.Addr, change)).ready())
	}
	return a
}

// send sends a password at the next replica.
func (a *accounts) send(path, token, email, password string) got {
	a.t.Helper()
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	return a.replicas[a.n%len(a.replicas)].send(sent{
		method: "POST", path: path, body: string(body), bearer: token, header: http.Header{"Content-Type": {"application/json"}},
	})
}

// token logs a user in and returns the access token.
func (a *accounts) token(email string) string {
	a.t.Helper()
	g := a.send("/login", "", email, "right")
	if g.field("access_token") == "" {
		a.t.Fatalf("logging in: %d %s", g.status, g.text)
	}
	return g.field("access_token")
}

func wantReused(t *testing.T, what string, g got, want bool) {
	t.Helper()
	is := g.status == 422 && len(g.failed()) == 1 && g.failed()[0] == "password:reused"
	if is != want || !want && g.status != 200 {
		t.Errorf("%s: %d %s; want reused %v", what, g.status, g.text, want)
	}
}

// TestOldPasswordsAreRefused: the last three passwords of an account are refused, at every replica, in every spelling of the account and of
// the password; the fourth is not.
func TestOldPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, nil)
	wantReused(t, "registering", a.send("/register", "", "Ada@Example.com", "tidal lantern 0"), false)
	ada := a.token("ada@example.com")
	wantReused(t, "the password of the registration", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), true)
	wantReused(t, "in full width", a.send("/password", ada, "ada@example.com", "ｔidal lantern 0"), true)
	wantReused(t, "without the account in the body", a.send("/password", ada, "", "tidal lantern 0"), true)
	for i := 1; i <= 3; i++ {
		wantReused(t, "another", a.send("/password", ada, "ada@example.com", fmt.Sprint("tidal lantern ", i)), false)
	}
	wantReused(t, "the last but two", a.send("/password", ada, " ADA@example.com", "tidal lantern 1"), true)
	wantReused(t, "the last but three", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), false)
	if a.reached != 1+1+3+1 {
		t.Errorf("the app was asked %d times", a.reached)
	}
	for _, key := range a.keys() {
		if value := fmt.Sprint(a.server.Do("DUMP", key)); strings.Contains(key, "ada@") || strings.Contains(value, "tidal") {
			t.Errorf("Redis shows %q", key)
		}
	}
}

func (a *accounts) keys() (keys []string) {
	a.t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: a.server.Addr})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(a.t.Context(), "postern:login:*:8:password:*").Result()
	if err != nil || len(keys) == 0 {
		a.t.Fatal(keys, err)
	}
	return keys
}

// TestNobodyTestsTheOldPasswordsOfOthers: without a token, and with that of another account, the response to an old password is that to a
// new one. Nor does a caller change what is remembered of another account.
func TestNobodyTestsTheOldPasswordsOfOthers(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, nil)
	ada, mallory := a.token("ada@example.com"), a.token("mallory@example.com")
	wantReused(t, "ada's", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), false)
	wantReused(t, "tested without a token", a.send("/register", "", "ada@example.com", "tidal lantern 0"), false)
	for i := range 4 {
		wantReused(t, "tested by mallory", a.send("/password", mallory, "ada@example.com", "tidal lantern 0"), false)
		wantReused(t, "pushed out by mallory", a.send("/password", mallory, "ada@example.com", fmt.Sprint("another orbit ", i)), false)
	}
	wantReused(t, "ada's, still", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), true)
}

// TestOnlyAcceptedPasswordsAreRemembered: a password that the app refuses, or that a rule refuses, is not remembered.
func TestOnlyAcceptedPasswordsAreRemembered(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, nil)
	ada := a.token("ada@example.com")
	for _, status := range []string{"400", "409", "503"} {
		if g := a.send("/password?status="+status, ada, "ada@example.com", "tidal lantern 0"); fmt.Sprint(g.status) != status {
			t.Errorf("%d; want %s", g.status, status)
		}
	}
	wantReused(t, "after refusals", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), false)
	if g := a.send("/password?status=303", ada, "ada@example.com", "tidal lantern 1"); g.status != 303 {
		t.Errorf("%d", g.status)
	}
	wantReused(t, "after a redirect", a.send("/password", ada, "ada@example.com", "tidal lantern 1"), true)
}

// TestGuessingOldPasswordsIsBounded: a caller with a token of the account learns about ten passwords within an hour, over all replicas.
func TestGuessingOldPasswordsIsBounded(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, nil)
	ada := a.token("ada@example.com")
	wantReused(t, "first", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), false)
	for range 10 {
		wantReused(t, "again", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), true)
	}
	g := a.send("/password", ada, "ada@example.com", "another orbit 1")
	wait, err := strconv.Atoi(g.header.Get("Retry-After"))
	if g.status != 429 || g.code() != "too-many-passwords" || err != nil || wait < 1800 || wait > 3600 { // what is left of an hour
		t.Errorf("%d %s, after %s", g.status, g.text, g.header.Get("Retry-After"))
	}
	wantReused(t, "another account", a.send("/password", a.token("bob@example.com"), "bob@example.com", "tidal lantern 0"), false)
}

// TestOldPasswordsInShadow: in shadow mode a password that was used before passes.
func TestOldPasswordsInShadow(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"reused"} })
	ada := a.token("ada@example.com")
	for range 12 { // also beyond the bound
		wantReused(t, "in shadow", a.send("/password", ada, "ada@example.com", "tidal lantern 0"), false)
	}
}

// TestOldPasswordsWithoutRedis: onFailure decides while old passwords are unavailable. Without a token nothing is judged, and nothing fails.
func TestOldPasswordsWithoutRedis(t *testing.T) {
	t.Parallel()
	for onFailure, want := range map[compiled.FailureMode]int{compiled.Deny: 503, compiled.Allow: 200} {
		t.Run(string(onFailure), func(t *testing.T) {
			t.Parallel()
			a := newAccounts(t, func(p *compiled.Policy) {
				p.PasswordPolicy.History.OnFailure, p.Sessions.OnFailure, p.Revocation.OnFailure = onFailure, compiled.Allow, compiled.Allow
			})
			ada := a.token("ada@example.com")
			a.server.Stop()
			g := a.send("/password", ada, "ada@example.com", "tidal lantern 0")
			if g.status != want || want == 503 && (g.code() != "password-check-unavailable" || g.header.Get("Retry-After") == "") {
				t.Errorf("%d %s; want %d", g.status, g.text, want)
			}
			if g := a.send("/register", "", "bob@example.com", "tidal lantern 0"); g.status != 200 {
				t.Errorf("registering: %d %s", g.status, g.text)
			}
		})
	}
}

// TestExpiredPasswords: the app is told at a login that the password is older than maxAge, by its own date at any replica, and not what a client
// says. The client is not told.
func TestExpiredPasswords(t *testing.T) {
	t.Parallel()
	const maxAge = 90 * 24 * time.Hour
	a := newAccounts(t, func(p *compiled.Policy) {
		p.PasswordPolicy.History.Remember, p.PasswordPolicy.History.MaxAge = 0, compiled.Duration(maxAge)
	})
	login := func(after time.Duration, email string) string {
		t.Helper()
		for _, s := range a.replicas {
			s.cfg.Now = func() time.Time { return time.Now().Add(after) }
			s.apply(s.snapshot.Load().Policy())
		}
		g := a.replicas[0].send(sent{method: "POST", path: "/login", body: `{"email":"` + email + `","password":"right"}`,
			header: http.Header{"Content-Type": {"application/json"}, "Postern-Password-Expired": {"true"}, "Postern_password_expired": {"true"}}})
		if g.status != 200 || g.header.Get("Postern-Password-Expired") != "" {
			t.Errorf("logging in: %d %v", g.status, g.header)
		}
		return a.expired[len(a.expired)-1]
	}
	if got := login(0, "ada@example.com"); got != "" {
		t.Errorf("without a date the app is told %q", got)
	}
	a.replicas[1].send(sent{method: "POST", path: "/register", body: `{"email":"Ada@example.com","password":"tidal lantern 0"}`, header: http.Header{"Content-Type": {"application/json"}}})
	for after, want := range map[time.Duration]string{0: "", maxAge - time.Hour: "", maxAge + time.Hour: "true"} {
		if got := login(after, " ada@EXAMPLE.com"); got != want {
			t.Errorf("after %s the app is told %q; want %q", after, got, want)
		}
	}
	if got := login(maxAge+time.Hour, "bob@example.com"); got != "" {
		t.Errorf("of another account the app is told %q", got)
	}
	a.replicas[0].send(sent{method: "POST", path: "/password/reset", body: "email=ada@example.com", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
	if got := a.expired[len(a.expired)-1]; got != "" {
		t.Errorf("at a request for a new password the app is told %q", got)
	}
	for _, key := range a.keys() { // without remember no password is kept
		if hashes := a.server.Do("HGET", key, "h"); fmt.Sprint(hashes) != "" {
			t.Errorf("%s has %v", key, hashes)
		}
	}
}

// TestPreviousHashes: the hash endpoint refuses a password that has one of the first hashes that the app gives.
func TestPreviousHashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sidecar(historyPolicy("", func(p *compiled.Policy) { p.PasswordPolicy.History.Remember = 2 }))
	hash := func(password string) string {
		t.Helper()
		g := s.loopback("POST", "/v1/passwords/hash", `{"password":"`+password+`"}`)
		if g.status != 200 {
			t.Fatalf("%d %s", g.status, g.text)
		}
		return g.field("hash")
	}
	hashes := []string{hash("tidal lantern 0"), hash("tidal lantern 1"), hash("tidal lantern 2")}
	tests := map[string]struct {
		policy   *compiled.Policy
		password string
		previous []string
		want     int
		wantCode string
	}{
		"new":                     {nil, "tidal lantern 3", hashes, 200, ""},
		"the latest":              {nil, "tidal lantern 0", hashes, 422, "password-refused"},
		"the second":              {nil, "tidal lantern 1", hashes, 422, "password-refused"},
		"the third of two":        {nil, "tidal lantern 2", hashes, 200, ""},
		"too short, and reused":   {nil, "x", hashes, 422, "password-refused"},
		"a malformed hash":        {nil, "tidal lantern 3", []string{"x"}, 422, "hash-unusable"},
		"an empty hash":           {nil, "tidal lantern 3", []string{""}, 422, "hash-unusable"},
		"a hash that is too dear": {nil, "tidal lantern 3", []string{"$argon2id$v=19$m=1048576,t=9,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, 422, "hash-unusable"},
		"24 hashes":               {nil, "tidal lantern 3", slices.Repeat(hashes[:1], 24), 200, ""},
		"25 hashes":               {nil, "tidal lantern 3", make([]string, 25), 422, "invalid-request"},
		"without remember": {historyPolicy("", func(p *compiled.Policy) {
			p.PasswordPolicy.History.Remember, p.PasswordPolicy.History.MaxAge = 0, compiled.Duration(90*24*time.Hour)
		}), "tidal lantern 0", hashes, 200, ""},
		"without history": {historyPolicy("", func(p *compiled.Policy) { p.PasswordPolicy.History = nil }), "tidal lantern 0", hashes, 200, ""},
		"in shadow":       {historyPolicy("", func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"reused"} }), "tidal lantern 0", hashes, 200, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			if tt.policy != nil {
				s = w.in(t).sidecar(tt.policy)
			}
			body, err := json.Marshal(map[string]any{"password": tt.password, "previous": tt.previous})
			if err != nil {
				t.Fatal(err)
			}
			g := s.loopback("POST", "/v1/passwords/hash", string(body))
			if g.status != tt.want || g.code() != tt.wantCode {
				t.Errorf("%d %s; want %d %s", g.status, g.text, tt.want, tt.wantCode)
			}
			if tt.wantCode == "password-refused" && len(tt.password) > 8 && (len(g.failed()) != 1 || g.failed()[0] != "password:reused") {
				t.Errorf("failed %v", g.failed())
			}
		})
	}
}

// TestShadowSaysNothingOfAge: in shadow mode, of the policy or of a section, the app is not told of an expired password, and so does not ask for
// another one. The dates are kept.
func TestShadowSaysNothingOfAge(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*compiled.Policy){
		"the policy":                  func(p *compiled.Policy) { p.Mode = compiled.Shadow },
		"loginProtection":             func(p *compiled.Policy) { p.LoginProtection.Mode = compiled.Shadow },
		"passwordPolicy":              func(p *compiled.Policy) { p.PasswordPolicy.Mode = compiled.Shadow },
		"nothing, so the app is told": func(*compiled.Policy) {},
		"another rule, so it is told": func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"too-short"} },
		"reused, so the app is told":  func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"reused"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccounts(t, func(p *compiled.Policy) {
				p.PasswordPolicy.History.Remember, p.PasswordPolicy.History.MaxAge = 0, compiled.Duration(24*time.Hour)
				change(p)
			})
			a.send("/register", "", "ada@example.com", "tidal lantern 0")
			for _, s := range a.replicas {
				s.cfg.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
				s.apply(s.snapshot.Load().Policy())
			}
			a.send("/login", "", "ada@example.com", "right")
			want := ""
			if strings.Contains(name, "told") {
				want = "true"
			}
			if got := a.expired[len(a.expired)-1]; got != want || len(a.keys()) != 1 {
				t.Errorf("the app is told %q; want %q", got, want)
			}
		})
	}
}

// TestPreviousHashesInShadow: in shadow mode the hash endpoint hashes, also beside hashes that it cannot compare.
func TestPreviousHashesInShadow(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*compiled.Policy){
		"the policy": func(p *compiled.Policy) { p.Mode = compiled.Shadow },
		"a section":  func(p *compiled.Policy) { p.PasswordPolicy.Mode = compiled.Shadow },
		"the rule":   func(p *compiled.Policy) { p.PasswordPolicy.Shadow = []string{"reused"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newWorld(t).sidecar(historyPolicy("", change))
			g := s.loopback("POST", "/v1/passwords/hash", `{"password":"tidal lantern 0"}`)
			for _, previous := range []string{g.field("hash"), "", "$unknown$", "$argon2id$v=19$m=4194304,t=100,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"} {
				g := s.loopback("POST", "/v1/passwords/hash", fmt.Sprintf(`{"password":"tidal lantern 0","previous":[%q]}`, previous))
				if g.status != 200 {
					t.Errorf("beside %q: %d %s", previous, g.status, g.text)
				}
			}
		})
	}
}

// TestOldPasswordsBesideBcrypt: an app whose own hashes are bcrypt has old passwords kept with Argon2id, which does not ignore the end of long ones.
func TestOldPasswordsBesideBcrypt(t *testing.T) {
	t.Parallel()
	a := newAccounts(t, func(p *compiled.Policy) { p.Passwords = &compiled.Passwords{Algorithm: "Bcrypt", Cost: 10} })
	ada, long := a.token("ada@example.com"), strings.Repeat("tidal lantern ", 8)
	wantReused(t, "the first", a.send("/password", ada, "ada@example.com", long+"0"), false)
	wantReused(t, "with another end", a.send("/password", ada, "ada@example.com", long+"1"), false)
	wantReused(t, "the first again", a.send("/password", ada, "ada@example.com", long+"0"), true)
	for _, key := range a.keys() {
		if hashes := fmt.Sprint(a.server.Do("HGET", key, "h")); !strings.Contains(hashes, "$argon2id$") || strings.Contains(hashes, "$2b$") {
			t.Errorf("%s has %s", key, hashes)
		}
	}
}
