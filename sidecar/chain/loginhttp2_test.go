package chain

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// overBoth runs a test of logins over HTTP/1.1 and over HTTP/2.
func overBoth(t *testing.T, test func(t *testing.T, over func(*logins) *logins)) {
	t.Helper()
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			test(t, func(l *logins) *logins {
				for _, s := range l.replicas {
					s.world.http2 = proto == "HTTP/2"
				}
				return l
			})
		})
	}
}

// unprobed is app without the preface of HTTP/2, by which the sidecar finds out whether an app speaks it. It is no request.
func unprobed(app http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PRI" {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		app(w, r)
	}
}

// TestLocksHoldForBothVersions: guesses over HTTP/1.1 and over HTTP/2 share their counts, and a lock over one looks as that over the other.
func TestLocksHoldForBothVersions(t *testing.T) {
	t.Parallel()
	l := newLogins(t, nil)
	turn := func(http2 bool, i int) got {
		for _, s := range l.replicas {
			s.world.http2 = http2
		}
		return l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
	}
	for i := range 12 {
		turn(i%2 == 0, i)
	}
	if n := l.app.count(); n != 5 {
		t.Errorf("%d guesses reached the app; want 5", n)
	}
	if old, current := shape(turn(false, 20)), shape(turn(true, 21)); old != current {
		t.Errorf("the locks look different:\n%s\n\n%s", old, current)
	}
}

// TestCookiesInPieces: over HTTP/2 a client may send each cookie in a field of its own (RFC 9113 §8.2.3). A device is known so too, and the
// app does not see its cookie.
func TestCookiesInPieces(t *testing.T) {
	t.Parallel()
	l := newLogins(t, nil)
	for _, s := range l.replicas {
		s.world.http2 = true
	}
	var device *http.Cookie
	for name, c := range l.attempt("198.51.100.1", "ada@example.com", "right").cookies {
		if strings.HasPrefix(name, "__Host-postern-device-") {
			device = c
		}
	}
	if device == nil {
		t.Fatal("there is no device cookie")
	}
	for i := range 10 {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
	}
	g := l.replicas[0].send(sent{method: "POST", path: "/login", body: `{"email":"ada@example.com","password":"right"}`, header: http.Header{
		"Content-Type": {"application/json"}, "Cookie": {"a=1", device.Name + "=" + device.Value, "b=2"},
	}})
	if g.status != 200 {
		t.Fatalf("%d %s", g.status, g.text)
	}
	if seen := l.app.seen[len(l.app.seen)-1]["Cookie"]; strings.Join(seen, "; ") != "a=1; b=2" {
		t.Errorf("the app saw the cookies %q", seen)
	}
}

// TestParallelStreams: guesses in progress on the streams of one connection count like those of many connections.
func TestParallelStreams(t *testing.T) {
	t.Parallel()
	l := newLogins(t, nil)
	s := l.replicas[0]
	s.world.http2 = true
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			_, _ = s.try(sent{method: "POST", path: "/login", body: `{"email":"ada@example.com","password":"x"}`, header: http.Header{"Content-Type": {"application/json"}}})
		})
	}
	all.Wait()
	if n := l.app.count(); n != 5 {
		t.Errorf("%d guesses reached the app; want 5", n)
	}
}
