package chain

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
)

// TestLocksTakeAsLong: an attempt at a locked account is delayed as long as one at an account with as many failures, and an attempt at another
// account from a locked address as long as one from another address. The clock stands still, so that only the delays count.
func TestLocksTakeAsLong(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var slept time.Duration
	now := time.Now()
	w := newWorld(t)
	w.registry, w.now = prometheus.NewRegistry(), func() time.Time { return now }
	w.sleep = func(_ context.Context, d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		slept += d
	}
	var n atomic.Int64
	w.app.Close()
	w.app = httptest.NewServer(refusing(&n, nil))
	t.Cleanup(w.app.Close)
	start := func(response string) *logins {
		return &logins{t: t, app: &passwordApp{}, replicas: []*sidecar{w.sidecar(loginProtectionPolicy("", func(p *compiled.LoginProtection) {
			p.Response, p.PerAddress.Failures = response, 10
		})).ready()}}
	}
	l := start("Same")
	took := func(l *logins, addr, account string) time.Duration {
		mu.Lock()
		slept = 0
		mu.Unlock()
		l.attempt(addr, account, "guess")
		mu.Lock()
		defer mu.Unlock()
		return slept
	}
	for i, want := range []time.Duration{0, 0, 250, 500, 1000, 2000, 2000, 2000} {
		if got := took(l, fmt.Sprintf("203.0.113.%d", i), "ada@example.com"); got != want*time.Millisecond {
			t.Errorf("attempt %d is delayed by %s; want %d ms", i, got, want)
		}
	}
	if n.Load() != 5 {
		t.Fatalf("%d attempts reached the app; want 5", n.Load())
	}
	for i := range 12 {
		if got := took(l, "198.51.100.1", fmt.Sprintf("user%d@example.com", i)); got != 0 {
			t.Errorf("attempt %d at another account is delayed by %s", i, got)
		}
	}
	if n.Load() != 15 {
		t.Errorf("%d attempts reached the app; want 10 more, of one address", n.Load())
	}
	w.registry = prometheus.NewRegistry()
	open := start("TooManyRequests")
	for i := range 5 {
		took(open, fmt.Sprintf("203.0.113.%d", i), "ada@example.com")
	}
	if got := took(open, "203.0.113.9", "ada@example.com"); got != 0 {
		t.Errorf("a 429 is delayed by %s", got)
	}
}

// TestLocksLookTheSame: a refused attempt has the same fields as the app's own response, however the app sends
// it.
func TestLocksLookTheSame(t *testing.T) { overBoth(t, locksLookTheSame) }

func locksLookTheSame(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	const text = `{"error":"wrong email or password"}`
	apps := map[string]http.HandlerFunc{
		"with a length": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text)
		},
		"in chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text[:5])
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, text[5:])
		},
		"empty": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"empty, in chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = http.NewResponseController(w).Flush()
		},
		"after early hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text)
		},
		"with fields": func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Vary", "WWW-Authenticate", "Content-Language", "X-App", "Cache-Control", "Content-Security-Policy"} {
				w.Header().Set(name, "x")
			}
			w.Header()["X-Many"] = []string{"one", "two"}
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text)
		},
		"without a type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text)
		},
	}
	for name, app := range apps {
		for _, accept := range []string{"application/json", "text/html"} {
			t.Run(name+", "+accept, func(t *testing.T) {
				t.Parallel()
				var n atomic.Int64
				l := over(loginsBefore(t, refusing(&n, app), nil))
				try := func(i int) got {
					return l.replicas[0].send(sent{method: "POST", path: "/login", body: `{"email":"ada@example.com"}`, header: http.Header{
						"Content-Type": {"application/json"}, "Accept": {accept}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", i)},
					}})
				}
				wrong := shape(try(0))
				for i := 1; i < 5; i++ {
					try(i)
				}
				if locked := shape(try(9)); locked != wrong || n.Load() != 5 {
					t.Errorf("%d attempts reached the app; a locked account gets\n%s\n\nand a wrong password\n%s", n.Load(), locked, wrong)
				}
			})
		}
	}
}

// TestLocksTakeAsLongAsWrongPasswords: requests that the app refuses fast, because they have no password, do not make refusals of a locked
// account fast. The app checks a password in 400 ms of the sidecar's clock.
func TestLocksTakeAsLongAsWrongPasswords(t *testing.T) {
	t.Parallel()
	var clock, slept, n atomic.Int64
	w := newWorld(t)
	start := time.Now()
	w.now = func() time.Time { return start.Add(time.Duration(clock.Load())) }
	w.sleep = func(_ context.Context, d time.Duration) { slept.Add(int64(d)) }
	w.app.Close()
	w.app = httptest.NewServer(refusing(&n, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "guess") {
			clock.Add(int64(400 * time.Millisecond))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
	}))
	t.Cleanup(w.app.Close)
	l := &logins{t: t, app: &passwordApp{}, replicas: []*sidecar{w.sidecar(loginProtectionPolicy("", func(p *compiled.LoginProtection) {
		p.Routes[0].FailureStatuses = []int{401, 422}
	})).ready()}}
	for i := range 5 {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
	}
	for i := range 20 {
		l.attempt(fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("user%d@example.com", i), "")
	}
	slept.Store(0)
	g := l.attempt("203.0.113.9", "ada@example.com", "guess")
	if got := time.Duration(slept.Load()); g.status != 401 || n.Load() != 25 || got != 2400*time.Millisecond {
		t.Errorf("a locked account: %d after %s; want 2.4s", g.status, got)
	}
}
