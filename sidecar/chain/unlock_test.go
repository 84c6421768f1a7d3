package chain

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

const unlockPath = "/v1/login-locks/clear"

// unlock calls the loopback API of the first replica.
func (l *logins) unlock(account string) got {
	l.t.Helper()
	return l.replicas[0].loopback("POST", unlockPath, fmt.Sprintf(`{"account":%q}`, account))
}

// guess fails to log in from n addresses.
func (l *logins) guess(n int, account string) {
	l.t.Helper()
	for i := range n {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), account, "guess")
	}
}

// TestUnlock: an account that an attacker keeps locked is open again, at all replicas, after the app or the operator has cleared its
// locks; with its next failures it is locked as for the first time.
func TestUnlock(t *testing.T) {
	t.Parallel()
	l := newLogins(t, nil)
	l.guess(20, "ada@example.com")
	l.guess(20, "grace@example.com")
	for range 6 {
		l.send("/password/reset", "application/x-www-form-urlencoded", "email=ada@example.com", "198.51.100.8")
	}
	if g := l.attempt("198.51.100.1", "ada@example.com", "right"); g.status != 401 {
		t.Fatalf("the account is not locked: %d", g.status)
	}
	if g := l.unlock(" ADA@example.com"); g.status != 200 || g.json["shared"] != true {
		t.Fatalf("unlocking: %d %s", g.status, g.text)
	}
	before := l.app.count()
	for range 2 { // at both replicas
		l.send("/password/reset", "application/x-www-form-urlencoded", "email=ada@example.com", "198.51.100.9")
	}
	if n := l.app.count() - before; n != 2 {
		t.Errorf("%d requests for a new password reach the app; want 2", n)
	}
	before = l.app.count()
	l.guess(20, "ada@example.com")
	if n := l.app.count() - before; n != 5 {
		t.Errorf("after unlocking %d guesses reach the app; want 5", n)
	}
	l.unlock("ada@example.com")
	for i := range l.replicas {
		if g := l.attempt(fmt.Sprintf("198.51.100.%d", i), "ada@example.com", "right"); g.status != 200 {
			t.Errorf("after unlocking: %d %s", g.status, g.text)
		}
	}
	if g := l.attempt("198.51.100.3", "grace@example.com", "right"); g.status != 401 {
		t.Errorf("another account: %d %s", g.status, g.text)
	}
}

// TestUnlockTellsNothing: the response is the same for a locked account, an open one, and one that does not exist. An address stays locked.
func TestUnlockTellsNothing(t *testing.T) {
	t.Parallel()
	l := newLogins(t, nil)
	l.guess(6, "ada@example.com")
	locked := shape(l.unlock("ada@example.com"))
	for _, account := range []string{"ada@example.com", "grace@example.com", "nobody", strings.Repeat("x", 2000)} {
		if other := shape(l.unlock(account)); other != locked {
			t.Errorf("%q:\n%s\n\n%s", account, other, locked)
		}
	}
	for i := range 60 {
		l.attempt("203.0.113.200", fmt.Sprintf("user%d", i), "guess")
	}
	l.unlock("ada@example.com")
	if g := l.attempt("203.0.113.200", "ada@example.com", "right"); g.status != 401 {
		t.Errorf("from a locked address: %d", g.status)
	}
}

// TestUnlockWithoutRedis: the response says that only the pod was reached. With Redis away the locks are not cleared, and the response says so.
func TestUnlockWithoutRedis(t *testing.T) {
	t.Parallel()
	l := loginsOn(t, "", nil)
	for range 2 { // each replica counts by itself
		l.guess(10, "ada@example.com")
	}
	if g := l.unlock("ada@example.com"); g.status != 200 || g.json["shared"] != false {
		t.Fatalf("unlocking: %d %s", g.status, g.text)
	}
	var statuses []int
	for _, s := range l.replicas {
		statuses = append(statuses, s.send(sent{method: "POST", path: "/login", body: `{"email":"ada@example.com","password":"right"}`, header: http.Header{"Content-Type": {"application/json"}}}).status)
	}
	if statuses[0] != 200 || statuses[1] != 401 {
		t.Errorf("the replicas respond with %v; want 200 from the first alone", statuses)
	}
	for _, mode := range []compiled.FailureMode{compiled.Deny, compiled.Allow} {
		server := redistest.Start(t, redistest.Options{})
		l := loginsOn(t, server.Addr, func(p *compiled.LoginProtection) { p.OnFailure = mode })
		server.Stop()
		if g := l.unlock("ada@example.com"); g.status != 503 || g.header.Get("Retry-After") == "" {
			t.Errorf("%s, without Redis: %d %s", mode, g.status, g.text)
		}
	}
}

// TestUnlockIsRecorded: the log has the hash of the account, as the keys in Redis do, and the metric has no account.
func TestUnlockIsRecorded(t *testing.T) {
	t.Parallel()
	w, log := newWorld(t), &bytes.Buffer{}
	w.sleep, w.log, w.registry = func(context.Context, time.Duration) {}, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry()
	s := w.sidecar(loginProtectionPolicy("", nil)).ready()
	s.loopback("POST", unlockPath, `{"account":"ada@example.com"}`)
	if text := log.String(); !strings.Contains(text, "login locks of an account cleared") || strings.Contains(text, "ada@") {
		t.Errorf("the log has %s", text)
	}
	want := "# HELP postern_login_unlocks_total Accounts whose failures and locks were cleared by the app or an operator, by result: cleared, unavailable.\n" +
		"# TYPE postern_login_unlocks_total counter\npostern_login_unlocks_total{result=\"cleared\"} 1\npostern_login_unlocks_total{result=\"unavailable\"} 0\n"
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "postern_login_unlocks_total"); err != nil {
		t.Error(err)
	}
}

// TestUnlockNeedsNoTokens: a policy that has nothing but login protection has the operation, and one without has not.
func TestUnlockNeedsNoTokens(t *testing.T) {
	t.Parallel()
	only := func(protected bool) *sidecar {
		p := loginProtectionPolicy("", nil)
		p.Tokens, p.Sessions, p.Revocation = nil, nil, nil
		p.Passwords = &compiled.Passwords{Algorithm: "Bcrypt", Cost: 10}
		if !protected {
			p.LoginProtection = nil
		} else {
			p.Passwords = nil
		}
		return newWorld(t).sidecar(p)
	}
	for name, tt := range map[string]struct {
		protected bool
		body      string
		want      int
	}{
		"protected": {true, `{"account":"ada"}`, 200}, "without": {false, `{"account":"ada"}`, 404}, "nobody": {true, `{"account":""}`, 422},
		"invisible": {true, "{\"account\":\"\\u200b \"}", 422}, "another type": {true, `{"account":["ada"]}`, 400},
	} {
		if g := only(tt.protected).loopback("POST", unlockPath, tt.body); g.status != tt.want {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
}

// TestUnlockDuringAnOutage: with Allow and without Redis the response is a 503, and the account is open in the pod that was called.
func TestUnlockDuringAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	l := loginsOn(t, server.Addr, func(p *compiled.LoginProtection) { p.OnFailure = compiled.Allow })
	l.replicas = l.replicas[:1]
	server.Stop()
	reach := func() int {
		before := l.app.count()
		l.attempt("198.51.100.1", "ada@example.com", "right") // tokens would need Redis
		return l.app.count() - before
	}
	l.guess(10, "ada@example.com")
	if reach() != 0 {
		t.Fatal("the account is not locked")
	}
	if g := l.unlock("ada@example.com"); g.status != 503 {
		t.Errorf("unlocking: %d %s", g.status, g.text)
	}
	if reach() != 1 {
		t.Error("the account is still locked in the pod")
	}
}
