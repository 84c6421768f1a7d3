package chain

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// at logs in at one replica.
func (l *logins) at(replica int, addr, account, password string, cookies ...*http.Cookie) got {
	l.t.Helper()
	return l.replicas[replica].send(sent{
		method: "POST", path: "/login", body: fmt.Sprintf(`{"email":%q,"password":%q}`, account, password), cookies: cookies,
		header: http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {addr}},
	})
}

func deviceOf(t *testing.T, g got) *http.Cookie {
	t.Helper()
	for name, c := range g.cookies {
		if strings.HasPrefix(name, "__Host-postern-device-") {
			return c
		}
	}
	t.Fatalf("there is no device cookie: %d %s", g.status, g.text)
	return nil
}

// TestKnownDevicesWithoutStore: with Allow, a pod that has read the key of the cookies knows devices during an outage, however long. A pod
// that has not read it knows none.
func TestKnownDevicesWithoutStore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w, later := newWorld(t), atomic.Int64{}
	w.sleep, w.now = func(context.Context, time.Duration) {}, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	l := &logins{t: t, app: &passwordApp{}}
	w.app.Close()
	w.app = httptest.NewServer(l.app)
	t.Cleanup(w.app.Close)
	for range 2 {
		l.replicas = append(l.replicas, w.sidecar(loginProtectionPolicy(server.Addr, func(p *compiled.LoginProtection) { p.OnFailure = compiled.Allow })).ready())
	}
	device := deviceOf(t, l.at(0, "198.51.100.1", "ada@example.com", "right"))
	server.Stop()
	later.Store(int64(10 * time.Minute)) // longer than the key is used without being read again
	for replica, want := range []int{1, 0} {
		for i := range 10 {
			l.at(replica, fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
		}
		if g := l.at(replica, "198.51.100.1", "ada@example.com", "right"); g.status != 401 {
			t.Errorf("replica %d does not lock the account: %d", replica, g.status)
		}
		before := l.app.count()
		g := l.at(replica, "198.51.100.1", "ada@example.com", "right", device) // tokens would need Redis
		if n := l.app.count() - before; n != want {
			t.Errorf("the known device at replica %d: %d attempts reach the app, %d %s; want %d", replica, n, g.status, g.text, want)
		}
	}
}

// TestRoutesShareAccounts: the login routes of a policy count together.
func TestRoutesShareAccounts(t *testing.T) {
	t.Parallel()
	l := newLogins(t, func(p *compiled.LoginProtection) {
		other := p.Routes[0]
		other.Name, other.Match = "token", []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/public/token"}}}
		p.Routes = append(p.Routes, other)
	})
	try := func(path, password string, i int) got {
		return l.send(path, "application/json", fmt.Sprintf(`{"email":"ada@example.com","password":%q}`, password), fmt.Sprintf("203.0.113.%d", i))
	}
	for i := range 4 {
		try([]string{"/login", "/public/token"}[i%2], "guess", i)
	}
	if g := try("/public/token", "right", 5); g.status != 200 {
		t.Fatalf("after four failures: %d %s", g.status, g.text)
	}
	before := l.app.count()
	for i := range 20 {
		try([]string{"/login", "/public/token"}[i%2], "guess", i)
	}
	if n := l.app.count() - before; n != 5 {
		t.Errorf("%d guesses reached the app; want 5 on both routes together", n)
	}
	for _, path := range []string{"/login", "/public/token"} {
		if g := try(path, "right", 30); g.status != 401 {
			t.Errorf("%s is not locked: %d", path, g.status)
		}
	}
}
