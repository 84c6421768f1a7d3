package chain

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// counts is an app that takes every path and every type for its login, as lenient apps do, and knows no password.
func counts(n *atomic.Int64) http.HandlerFunc {
	return refusing(n, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusUnauthorized)
	})
}

// TestSpellingsOfTheLogin: no spelling of the path gives an attacker further guesses: it counts, or does not reach the app.
func TestSpellingsOfTheLogin(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/login", "/log%69n", "/%6cogin", "//login", "/./login", "/x/../login", "/login?x=1", "/login?", "/login;x=1", "/login/", "/login//", "/login/.", "/login%2f", "/login%00",
		"/LOGIN", "/Login", `/\login`, "/%2flogin", "/login%5c",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			w := newWorld(t)
			w.app.Close()
			w.app = httptest.NewServer(counts(&n))
			t.Cleanup(w.app.Close)
			w.sleep = func(context.Context, time.Duration) {}
			p := loginProtectionPolicy("", nil)
			p.Paths = &compiled.Paths{CaseInsensitive: true, Options: compiled.PathOptions{
				EncodedSlash: "Keep", Semicolon: "Keep", Backslash: "Keep", DoubleEncoding: "Keep", EmptySegments: "Merge",
			}}
			p.Authorization.Rules[0].Match = []compiled.Match{{Paths: []string{"/**"}}} // nothing else stops the spelling
			s := w.sidecar(p).ready()
			for i := range 12 {
				raw(t, s.url, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 203.0.113.%d\r\nContent-Type: application/json\r\nContent-Length: 27\r\nConnection: close\r\n\r\n{\"email\":\"ada@example.com\"}", path, i))
			}
			if n.Load() > 5 {
				t.Errorf("%d guesses reached the app; want at most 5", n.Load())
			}
		})
	}
}

// raw sends bytes and returns the response.
func raw(t *testing.T, url, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(conn)
	return string(b)
}

// TestTypesOfLogins: what each Content-Type, and each way to send the body, gets. A type in which the account cannot be read does not reach
// the app.
func TestTypesOfLogins(t *testing.T) {
	t.Parallel()
	const body = `{"email":"ada@example.com"}`
	tests := map[string]struct{ head, body, want string }{
		"with a charset":         {"Content-Type: application/json; charset=utf-8\r\nContent-Length: 27\r\n", body, "401"},
		"of a vendor":            {"Content-Type: application/vnd.shop+json\r\nContent-Length: 27\r\n", body, "401"},
		"in upper case":          {"Content-Type: APPLICATION/JSON\r\nContent-Length: 27\r\n", body, "401"},
		"none":                   {"Content-Length: 27\r\n", body, "415"},
		"text":                   {"Content-Type: text/plain\r\nContent-Length: 27\r\n", body, "415"},
		"twice":                  {"Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n", body, "4"},
		"gRPC":                   {"Content-Type: application/grpc\r\nContent-Length: 27\r\n", body, "415"},
		"compressed":             {"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 27\r\n", body, "415"},
		"in chunks":              {"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", "5\r\n{\"ema\r\n16\r\nil\":\"ada@example.com\"}\r\n0\r\n\r\n", "401"},
		"after 100 Continue":     {"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 27\r\n", body, "100"},
		"a byte order mark":      {"Content-Type: application/json\r\nContent-Length: 30\r\n", "\xef\xbb\xbf" + body, "400"},
		"an override to GET":     {"Content-Type: application/json\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 27\r\n", body, "401"},
		"with a length too many": {"Content-Type: application/json\r\nContent-Length: 27\r\nContent-Length: 28\r\n", body, "400"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			l := loginsBefore(t, counts(&n), nil)
			for i := range 8 {
				got := raw(t, l.replicas[0].url, fmt.Sprintf("POST /login HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 203.0.113.%d\r\nConnection: close\r\n%s\r\n%s", i, tt.head, tt.body))
				if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want) {
					t.Fatalf("%.60q; want %s", got, tt.want)
				}
			}
			if want := map[bool]int64{true: 5}[tt.want == "401" || tt.want == "100"]; n.Load() != want {
				t.Errorf("%d attempts reached the app; want %d", n.Load(), want)
			}
		})
	}
}

// TestLoginLabels: no value of a client becomes a label of a metric, so that an attacker cannot fill the memory with series.
func TestLoginLabels(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l := loginsBefore(t, counts(&n), nil)
	series := func() (count int) {
		families, err := l.replicas[0].world.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "postern_login_") {
				count += len(f.GetMetric())
			}
		}
		return count
	}
	before := series()
	for i := range 60 {
		l.replicas[0].send(sent{method: "POST", path: fmt.Sprintf("/login?q=%d", i), body: fmt.Sprintf(`{"email":"user%d@example.com"}`, i), host: fmt.Sprintf("h%d.example.com", i), header: http.Header{
			"Content-Type": {"application/json"}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", i)}, "User-Agent": {fmt.Sprint(i)}, "Origin": {fmt.Sprintf("https://o%d.example.com", i)},
		}})
	}
	if after := series(); after != before || before == 0 {
		t.Errorf("%d series before and %d after 60 attempts", before, after)
	}
}
