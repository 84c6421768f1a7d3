package chain

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// loginsBefore starts one replica with its state in memory in front of an app.
func loginsBefore(t *testing.T, app http.HandlerFunc, change func(*compiled.LoginProtection)) *logins {
	t.Helper()
	w := newWorld(t)
	w.registry, w.sleep = prometheus.NewRegistry(), func(context.Context, time.Duration) {}
	w.app.Close()
	w.app = httptest.NewServer(app)
	t.Cleanup(w.app.Close)
	return &logins{t: t, app: &passwordApp{}, replicas: []*sidecar{w.sidecar(loginProtectionPolicy("", change)).ready()}}
}

// refusing is an app that knows no password. It counts the requests.
func refusing(count *atomic.Int64, respond http.HandlerFunc) http.HandlerFunc {
	return unprobed(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		if respond != nil {
			respond(w, r)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
}

// TestManyAddressesManyAccounts: failures of many accounts from many addresses are reported once, when they reach the limit, and refuse
// nobody.
func TestManyAddressesManyAccounts(t *testing.T) { overBoth(t, manyAddressesManyAccounts) }

func manyAddressesManyAccounts(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	var n atomic.Int64
	l := over(loginsBefore(t, refusing(&n, nil), func(p *compiled.LoginProtection) { p.Global.Failures = 10 }))
	for i := range 15 {
		if i == 9 && !metricIs(t, l, "global", 0) {
			t.Error("reported before the limit")
		}
		l.attempt(fmt.Sprintf("203.0.113.%d", i), fmt.Sprintf("user%d@example.com", i), "guess")
	}
	if !metricIs(t, l, "global", 1) || n.Load() != 15 {
		t.Errorf("%d guesses reached the app; want 15, and one report", n.Load())
	}
}

// metricIs reports whether lockouts of a kind were counted so often.
func metricIs(t *testing.T, l *logins, kind string, want float64) bool {
	t.Helper()
	families, err := l.replicas[0].world.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "postern_login_lockouts_total" && m.GetLabel()[0].GetValue() == kind {
				return m.GetCounter().GetValue() == want
			}
		}
	}
	return false
}

// TestHiddenAccounts: places from which an app could take another account than the one that counts are refused, or count.
func TestHiddenAccounts(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	basic := func(text string) http.Header { return http.Header{"Authorization": {text}} }
	encode := base64.StdEncoding.EncodeToString
	tests := map[string]struct {
		account compiled.RequestField
		request sent
	}{
		"in the query, which Spring prefers": {compiled.RequestField{Form: "email"}, sent{path: "/login?email=ada", body: "email=junk&password=x", header: http.Header{"Content-Type": {form}}}},
		"in the query, with an empty body":   {compiled.RequestField{Form: "email"}, sent{path: "/login?email=ada&password=x"}},
		"in the query, by another spelling":  {compiled.RequestField{Form: "email"}, sent{path: "/login?Email%5B%5D=ada&password=x"}},
		"in the query, beside JSON":          {compiled.RequestField{JSON: "email"}, sent{path: "/login?email=ada", body: `{"password":"x"}`, header: http.Header{"Content-Type": {"application/json"}}}},
		"in the query, which is malformed":   {compiled.RequestField{Form: "email"}, sent{path: "/login?a=%zz&email=ada"}},
		"in a header twice":                  {compiled.RequestField{Header: "X-User"}, sent{path: "/login", header: http.Header{"X-User": {"junk", "ada"}}}},
		"in Basic twice":                     {compiled.RequestField{Basic: true}, sent{path: "/login", header: http.Header{"Authorization": {"Basic " + encode([]byte("junk:x")), "Basic " + encode([]byte("ada:x"))}}}},
		"in Basic that lenient apps decode":  {compiled.RequestField{Basic: true}, sent{path: "/login", header: basic("Basic " + encode([]byte("ada:x")) + "!")}},
		"in Basic with two spaces":           {compiled.RequestField{Basic: true}, sent{path: "/login", header: basic("basic  " + encode([]byte("ada:x")))}},
		"in Basic without padding":           {compiled.RequestField{Basic: true}, sent{path: "/login", header: basic("Basic YWRhOng")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			l := loginsBefore(t, refusing(&n, nil), func(p *compiled.LoginProtection) { p.Routes[0].Account = tt.account })
			tt.request.method = "POST"
			if g := l.replicas[0].send(tt.request); g.status != http.StatusBadRequest || n.Load() != 0 {
				t.Errorf("%d %s, %d requests reached the app; want 400", g.status, g.text, n.Load())
			}
		})
	}
}

// TestPaddedAccounts: white space and invisible characters, which apps or their databases remove, give no further guesses.
func TestPaddedAccounts(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l := loginsBefore(t, refusing(&n, nil), nil)
	for i := range 20 {
		name := []string{strings.Repeat(" ", 1100+i) + "ada@example.com", "ada" + strings.Repeat("\u200b", i) + "@example.com", "a\u00adda@example.com", "ada\ufe0f@example.com", "a\x00da@example.com"}[i%5]
		l.attempt(fmt.Sprintf("203.0.113.%d", i), name, "guess")
	}
	if n.Load() != 5 {
		t.Errorf("%d guesses reached the app; want 5", n.Load())
	}
}

// TestSamplesAreNobodys: what an app says to one client, with data of its request, is not repeated to another.
func TestSamplesAreNobodys(t *testing.T) { overBoth(t, samplesAreNobodys) }

func samplesAreNobodys(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	echo := map[string]http.HandlerFunc{
		"the account": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write(body)
		},
		"a token": func() http.HandlerFunc {
			var n atomic.Int64
			return func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = fmt.Fprintf(w, `{"csrf":"grace-%d"}`, n.Add(1))
			}
		}(),
		"a header": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Seen", r.Header.Get("X-Forwarded-For")+"grace")
			w.WriteHeader(http.StatusUnauthorized)
		},
	}
	for name, app := range echo {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			l := over(loginsBefore(t, refusing(&n, app), nil))
			for i := range 5 {
				l.attempt(fmt.Sprintf("203.0.113.%d", i), "grace@example.com", "my-secret")
			}
			g := l.attempt("198.51.100.7", "grace@example.com", "other")
			if n.Load() != 5 {
				t.Fatalf("%d attempts reached the app; want 5", n.Load())
			}
			if all := g.text + fmt.Sprint(g.header); strings.Contains(all, "grace") || strings.Contains(all, "my-secret") {
				t.Errorf("another client's data: %s", all)
			}
		})
	}
}

// TestSamplesAreOfWrongPasswords: a malformed request of an attacker does not change what others get.
func TestSamplesAreOfWrongPasswords(t *testing.T) { overBoth(t, samplesAreOfWrongPasswords) }

func samplesAreOfWrongPasswords(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	var n atomic.Int64
	l := over(loginsBefore(t, refusing(&n, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "malformed"):
			w.WriteHeader(http.StatusUnprocessableEntity)
		case r.URL.Path == "/password/reset":
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "wrong")
		}
	}), func(p *compiled.LoginProtection) {
		p.Routes[0].Match[0].Methods = nil
		p.Routes[0].FailureStatuses = []int{401, 403, 422}
	}))
	for i := range 3 {
		l.replicas[0].send(sent{method: "HEAD", path: "/login", header: http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.20%d", i)}}})
	}
	for i := range 5 {
		l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
		l.send("/password/reset", "application/x-www-form-urlencoded", "email=ada", fmt.Sprintf("203.0.113.%d", i))
	}
	for i := range 3 {
		l.attempt(fmt.Sprintf("203.0.113.10%d", i), fmt.Sprintf("m%d@example.com", i), "malformed")
		l.send("/password/reset", "application/x-www-form-urlencoded", "email=malformed", fmt.Sprintf("203.0.113.10%d", i))
	}
	for i := range 3 {
		l.replicas[0].send(sent{method: "HEAD", path: "/login", header: http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.21%d", i)}}})
	}
	if g := l.attempt("198.51.100.1", "ada@example.com", "right"); g.status != http.StatusUnauthorized || g.text != "wrong" {
		t.Errorf("a locked account gets %d %q; want 401 wrong", g.status, g.text)
	}
	if g := l.send("/password/reset", "application/x-www-form-urlencoded", "email=ada", "198.51.100.1"); g.status != http.StatusAccepted {
		t.Errorf("a reset beyond the limit gets %d; want 202", g.status)
	}
}

// TestRefusedLoginsMarkNoDevice: only a login marks a device.
func TestRefusedLoginsMarkNoDevice(t *testing.T) {
	t.Parallel()
	for _, status := range []int{201, 400, 401, 404, 500} {
		var n atomic.Int64
		l := loginsBefore(t, refusing(&n, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), nil)
		g := l.attempt("203.0.113.1", "ada@example.com", "guess")
		if marked := len(g.cookies) > 0; marked != (status == 201) {
			t.Errorf("%d marks a device: %v", status, marked)
		}
	}
}

// TestHungUpLogins: a client that leaves before the app responds has made a guess.
func TestHungUpLogins(t *testing.T) { overBoth(t, hungUpLogins) }

func hungUpLogins(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	var n atomic.Int64
	arrived := make(chan struct{}, 100)
	l := over(loginsBefore(t, refusing(&n, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	}), nil))
	for i := range 5 {
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.replicas[0].url+"/login", strings.NewReader(`{"email":"ada@example.com"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		go func() {
			<-arrived
			leave()
		}()
		if res, err := l.replicas[0].world.transport().RoundTrip(r); err == nil {
			_ = res.Body.Close()
			t.Fatalf("attempt %d: %d", i, res.StatusCode)
		}
		want := float64(i + 1)
		redistest.Eventually(t, "the attempt to end", func() bool { return attempts(t, l, "failure")+attempts(t, l, "neutral") == want })
	}
	if f := attempts(t, l, "failure"); f != 5 {
		t.Errorf("%v failures; want 5", f)
	}
	if g := l.attempt("203.0.113.9", "ada@example.com", "right"); g.status != http.StatusUnauthorized || n.Load() != 5 {
		t.Errorf("%d, %d attempts reached the app; want 5", g.status, n.Load())
	}
}

// attempts returns how many attempts of the first route had a result.
func attempts(t *testing.T, l *logins, result string) (n float64) {
	t.Helper()
	families, err := l.replicas[0].world.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "postern_login_attempts_total" && m.GetLabel()[0].GetValue() == result && m.GetLabel()[1].GetValue() == "login" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestUpgradedLogins: a connection that the app takes over for WebSocket says nothing about a password: it neither clears the count nor
// marks a device.
func TestUpgradedLogins(t *testing.T) {
	t.Parallel()
	l := loginsBefore(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = conn.Close()
	}, func(p *compiled.LoginProtection) {
		p.Routes[0].Match[0].Methods = nil
		p.Routes[0].Account = compiled.RequestField{Header: "X-User"}
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.replicas[0].url+"/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-User": {"ada"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%d; want 101", res.StatusCode)
	}
	redistest.Eventually(t, "the attempt to end", func() bool { return attempts(t, l, "success")+attempts(t, l, "neutral") == 1 })
	if attempts(t, l, "neutral") != 1 {
		t.Error("it counts as a success")
	}
}
