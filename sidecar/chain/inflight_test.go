package chain

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// holdWorld is a world whose app keeps the requests to /public/hold in progress until finish.
type holdWorld struct {
	*world
	mu  sync.Mutex
	end chan struct{}
}

func newHoldWorld(t testing.TB) *holdWorld {
	w := &holdWorld{world: newWorld(t), end: make(chan struct{})}
	w.app = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.app.Close)
	t.Cleanup(w.finish)
	return w
}

func (w *holdWorld) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	end := w.end
	w.mu.Unlock()
	switch {
	case r.URL.Path == "/public/socket":
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			_, _, _ = c.Read(r.Context())
			_ = c.CloseNow()
		}
	case strings.HasPrefix(r.URL.Path, "/public/hold"):
		w.reached.Add(1)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	case r.URL.Query().Has("failed"):
		rw.WriteHeader(http.StatusInternalServerError)
	default:
		loginApp(rw, r)
	}
}

// finish lets the app respond to the requests in progress.
func (w *holdWorld) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.end)
	w.end = make(chan struct{})
	w.reached.Store(0)
}

// hold sends n requests, which stay in progress, and waits until they are. The result is called to wait for their status 200.
func (w *holdWorld) hold(s *sidecar, path string, n int) (wait func()) {
	w.t.Helper()
	var all sync.WaitGroup
	before := w.reached.Load()
	for range n {
		all.Go(func() {
			if g, err := s.try(sent{method: "GET", path: path}); err != nil || g.status != 200 {
				w.t.Errorf("a held request: %d %s, %v", g.status, g.text, err)
			}
		})
	}
	redistest.Eventually(w.t, "the requests to be in progress", func() bool { return w.reached.Load() == before+int64(n) })
	return all.Wait
}

// atMost allows n requests in progress under /public.
func atMost(n int, change func(*compiled.RateLimit)) func(*compiled.Policy) {
	return func(p *compiled.Policy) {
		l := compiled.RateLimit{
			Name: "busy", Match: []compiled.Match{{Paths: []string{"/public/**"}}}, MaxInFlight: n,
			KeyBy: []compiled.RateLimitKey{{Type: "Route"}}, Mode: compiled.Enforce, OnFailure: compiled.Deny,
		}
		if change != nil {
			change(&l)
		}
		p.RateLimits = append(p.RateLimits, l)
	}
}

// with returns a sidecar with that Redis and lease.
func (w *holdWorld) with(addr string, lease time.Duration, change func(*compiled.Policy)) *sidecar {
	w.t.Helper()
	return w.sidecarOf(w.sharedBy(resources.Config{InFlightLease: lease}), w.policy(addr, change)).ready()
}

func (w *holdWorld) policy(addr string, change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		if addr != "" {
			onRedis(p, addr)
			p.Redis.Timeout = compiled.Duration(5 * time.Second) // long enough for a busy machine
		}
		change(p)
	})
}

// wantPlaces waits until exactly n places are held in Redis.
func wantPlaces(t testing.TB, server *redistest.Server, n int) {
	t.Helper()
	client := server.Client()
	defer client.Close()
	redistest.Eventually(t, fmt.Sprint(n, " places to be held"), func() bool {
		held := int64(0)
		for _, key := range client.Keys(t.Context(), "postern:ratelimit:*9:in-flight*").Val() {
			held += client.ZCard(t.Context(), key).Val()
		}
		return held == int64(n)
	})
}

func wantTooMany(t testing.TB, g got) {
	t.Helper()
	if g.status != 429 || g.code() != "too-many-in-flight" || g.header.Get("Retry-After") != "1" {
		t.Errorf("beyond the maximum: %d %s, Retry-After %q", g.status, g.text, g.header.Get("Retry-After"))
	}
}

// TestInFlightAcrossSidecars: exactly the maximum is in progress, and the rest is refused.
func TestInFlightAcrossSidecars(t *testing.T) {
	t.Parallel()
	const maximum, others = 5, 40
	for name, count := range map[string]int{"in memory": 1, "in Redis": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, addr := newHoldWorld(t), ""
			var server *redistest.Server
			if count > 1 {
				server = redistest.Start(t, redistest.Options{})
				addr = server.Addr
			}
			var all []*sidecar
			for range count {
				all = append(all, w.with(addr, 0, atMost(maximum, nil)))
			}
			for range 3 {
				var mu sync.Mutex
				statuses := map[string]int{}
				var clients sync.WaitGroup
				for i := range maximum + others {
					clients.Go(func() {
						g, err := all[i%count].try(sent{method: "GET", path: "/public/hold"})
						mu.Lock()
						defer mu.Unlock()
						if statuses[g.word()]++; err != nil {
							t.Error(err)
						}
					})
				}
				redistest.Eventually(t, "all others to be refused", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return statuses["429 too-many-in-flight"] == others && w.reached.Load() == maximum
				})
				wantTooMany(t, all[0].send(sent{method: "GET", path: "/public/hold"}))
				w.finish()
				clients.Wait()
				if statuses["200"] != maximum {
					t.Errorf("statuses %v", statuses)
				}
				if server != nil {
					wantPlaces(t, server, 0)
				}
			}
		})
	}
}

// TestPlacesAreReleased: on every path of a request.
func TestPlacesAreReleased(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	s := w.with(server.Addr, 0, atMost(1, nil))
	get := func(path string) func(*testing.T) {
		return func(t *testing.T) { _, _ = s.try(sent{method: "GET", path: path}) }
	}
	tests := map[string]func(*testing.T){
		"a response":       get("/public/x"),
		"an error":         get("/public/x?failed"),
		"a broken one":     get("/public/x?broken"),
		"a WebSocket":      func(t *testing.T) { _ = s.socket(t, "/public/socket").Close(websocket.StatusNormalClosure, "") },
		"a lost WebSocket": func(t *testing.T) { _ = s.socket(t, "/public/socket").CloseNow() },
		"a client that disconnects": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/public/x?stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := roundTripper.RoundTrip(r)
			if err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
			wantPlaces(t, server, 1)
			cancel()
			_ = res.Body.Close()
		},
		"an app that is away": func(t *testing.T) {
			app := w.app
			w.app = &httptest.Server{URL: "http://127.0.0.1:1"}
			defer func() { w.app = app }()
			if g := s.send(sent{method: "GET", path: "/public/x"}); g.status != 502 {
				t.Errorf("%d %s", g.status, g.text)
			}
		},
	}
	for name, request := range tests {
		t.Run(name, func(t *testing.T) {
			wantPlaces(t, server, 0)
			request(t)
			wantPlaces(t, server, 0)
			if g := s.in(t).send(sent{method: "GET", path: "/public/x"}); g.status != 200 {
				t.Errorf("afterwards: %d %s", g.status, g.text)
			}
		})
	}
}

// socket opens a WebSocket.
func (s *sidecar) socket(t testing.TB, path string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// TestWebSocketsKeepTheirPlaces for longer than a lease.
func TestWebSocketsKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	here, there := w.with(server.Addr, lease, atMost(1, nil)), w.with(server.Addr, lease, atMost(1, nil))
	c := here.socket(t, "/public/socket")
	for range 5 {
		time.Sleep(lease / 2)
		wantTooMany(t, there.send(sent{method: "GET", path: "/public/x"}))
	}
	server.Do("FLUSHALL")
	redistest.Eventually(t, "the place to be taken again after a flush", func() bool {
		return there.send(sent{method: "GET", path: "/public/x"}).status == 429
	})
	_ = c.Close(websocket.StatusNormalClosure, "")
	redistest.Eventually(t, "the place to be free", func() bool { return there.send(sent{method: "GET", path: "/public/x"}).status == 200 })
}

// cable is a connection to Redis that a test cuts.
type cable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func newCable(t testing.TB, addr string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l}
	t.Cleanup(c.Cut)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil || !c.keep(client, server) {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
	return c
}

func (c *cable) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conns...)
	return !c.cut
}

// Cut closes all connections, and refuses others.
func (c *cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	_ = c.Close()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// TestKilledPod: the places of a pod that says nothing any more are free after the lease.
func TestKilledPod(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	link := newCable(t, server.Addr)
	killed, other := w.with(link.Addr().String(), 3*time.Second, atMost(2, nil)), w.with(server.Addr, 3*time.Second, atMost(2, nil))
	wait := w.hold(killed, "/public/hold", 2)
	wantTooMany(t, other.send(sent{method: "GET", path: "/public/x"}))
	link.Cut()
	redistest.Eventually(t, "the places to be free", func() bool { return other.send(sent{method: "GET", path: "/public/x"}).status == 200 })
	w.finish()
	wait()
}

// TestSidecarEnds: it frees the places of requests that are still in progress.
func TestSidecarEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	s := w.with(server.Addr, 0, atMost(2, nil))
	wait := w.hold(s, "/public/hold", 2)
	wantPlaces(t, server, 2)
	s.shared.Close()
	wantPlaces(t, server, 0)
	w.finish()
	wait()
}

// TestInFlightWithoutRedis: with Allow the pod counts its requests alone, including those from before the outage.
func TestInFlightWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, onFailure := range []compiled.FailureMode{compiled.Allow, compiled.Deny} {
		t.Run(string(onFailure), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			w := newHoldWorld(t)
			rule := atMost(2, func(l *compiled.RateLimit) { l.OnFailure = onFailure })
			s := w.with(server.Addr, 2*time.Second, func(p *compiled.Policy) { rule(p); p.Redis.Timeout = compiled.Duration(500 * time.Millisecond) })
			other := w.with(server.Addr, 2*time.Second, rule)
			wait := w.hold(s, "/public/hold", 1)
			server.Stop()
			if onFailure == compiled.Deny {
				if g := s.send(sent{method: "GET", path: "/public/x"}); g.word() != "503 rate-limit-unavailable" || g.header.Get("Retry-After") == "" {
					t.Errorf("%d %s", g.status, g.text)
				}
				w.finish()
				wait()
				server.Restart()
				redistest.Eventually(t, "requests to pass again", func() bool { return s.send(sent{method: "GET", path: "/public/x"}).status == 200 })
				return
			}
			second := w.hold(s, "/public/hold", 1)
			wantTooMany(t, s.send(sent{method: "GET", path: "/public/x"}))
			if g := other.send(sent{method: "GET", path: "/public/x"}); g.status != 200 {
				t.Errorf("another pod counts by itself: %d %s", g.status, g.text)
			}
			server.Restart()
			redistest.Eventually(t, "the requests to be counted in Redis again", func() bool {
				return other.send(sent{method: "GET", path: "/public/x"}).status == 429
			})
			w.finish()
			wait()
			second()
			wantPlaces(t, server, 0)
		})
	}
}

// TestRefusedRequestsHoldNoPlace, whatever refuses them.
func TestRefusedRequestsHoldNoPlace(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	everywhere := func(l *compiled.RateLimit) { l.Name, l.Match = "all", nil }
	s := w.with(server.Addr, 0, func(p *compiled.Policy) {
		atMost(2, everywhere)(p)
		atMost(1, func(l *compiled.RateLimit) { l.Match[0].Paths[0] = "/public/hold" })(p)
		atMost(1, func(l *compiled.RateLimit) {
			l.Name, l.MaxInFlight, l.Limit, l.Burst, l.Period, l.Match[0].Paths[0] = "rate", 1, 1, 1, compiled.Duration(time.Hour), "/public/rate"
		})(p)
	})
	wait := w.hold(s, "/public/hold", 1)
	wantPlaces(t, server, 2)
	for name, r := range map[string]struct{ path, want string }{
		"by authorization": {"/orders", "401 no-credentials"}, "by another maximum": {"/public/hold", "429 too-many-in-flight"},
	} {
		if got := s.send(sent{method: "GET", path: r.path}).word(); got != r.want {
			t.Errorf("%s: %s; want %s", name, got, r.want)
		}
		wantPlaces(t, server, 2)
	}
	for i, want := range []string{"200", "429 rate-limited"} {
		if got := s.send(sent{method: "GET", path: "/public/rate"}).word(); got != want {
			t.Errorf("request %d with a rate: %s; want %s", i+1, got, want)
		}
		wantPlaces(t, server, 2)
	}
	w.finish()
	wait()
	wantPlaces(t, server, 0)
}

// TestInFlightPolicyChange: requests that began under another document count under the new one, and end.
func TestInFlightPolicyChange(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	s := w.with(server.Addr, 0, atMost(2, nil))
	apply := func(change func(*compiled.Policy)) { s.apply(w.policy(server.Addr, change)) }
	ask := func() string { return s.send(sent{method: "GET", path: "/public/x"}).word() }
	var waits []func()
	waits = append(waits, w.hold(s, "/public/hold", 2))
	apply(atMost(3, nil))
	if got := ask(); got != "200" {
		t.Errorf("a greater maximum: %s", got)
	}
	apply(atMost(1, nil))
	if got := ask(); got != "429 too-many-in-flight" {
		t.Errorf("a smaller maximum: %s", got)
	}
	apply(atMost(1, func(l *compiled.RateLimit) { l.KeyBy = []compiled.RateLimitKey{{Type: "ClientAddress"}} }))
	if got := ask(); got != "200" {
		t.Errorf("other keys: %s", got)
	}
	waits = append(waits, w.hold(s, "/public/hold", 1))
	wantPlaces(t, server, 3)
	apply(func(*compiled.Policy) {})
	waits = append(waits, w.hold(s, "/public/hold", 1))
	wantPlaces(t, server, 3)
	w.finish()
	for _, wait := range waits {
		wait()
	}
	wantPlaces(t, server, 0)
	apply(atMost(1, nil))
	if got := ask(); got != "200" {
		t.Errorf("afterwards: %s", got)
	}
}

// TestInFlightShadowAndExempt: neither refuses, and exempt requests are not counted.
func TestInFlightShadowAndExempt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*compiled.Policy)
		want   int
	}{
		"a rule in Shadow":   {atMost(1, func(l *compiled.RateLimit) { l.Mode = compiled.Shadow }), 1},
		"a policy in Shadow": {func(p *compiled.Policy) { atMost(1, nil)(p); p.Mode = compiled.Shadow }, 1},
		"exempt": {atMost(1, func(l *compiled.RateLimit) {
			l.Exempt = &compiled.LimitExemption{ClientAddresses: []string{"127.0.0.0/8"}}
		}), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			w := newHoldWorld(t)
			s := w.with(server.Addr, 0, tt.change)
			wait := w.hold(s, "/public/hold", 3)
			wantPlaces(t, server, tt.want)
			w.finish()
			wait()
			wantPlaces(t, server, 0)
		})
	}
}
