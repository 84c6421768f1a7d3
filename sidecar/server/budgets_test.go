package server

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/budget"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

func response1(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// gate is a budget in front of an app that holds its requests.
type gate struct {
	*budgets
	overload *overload
	log      *bytes.Buffer
	server   *httptest.Server
	arrived  chan string
	proceed  chan struct{}
}

// newGate returns a gate whose clients are named by X-Client.
func newGate(t *testing.T, memory limits, set func(*http.Protocols)) *gate {
	t.Helper()
	g := &gate{arrived: make(chan string, 100), proceed: make(chan struct{}), log: &bytes.Buffer{}}
	var err error
	if g.overload, err = newOverload(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(g.log, nil))); err != nil {
		t.Fatal(err)
	}
	g.budgets = newBudgets(memory, g.overload, func(r *http.Request) (netip.Addr, bool) {
		addr, _ := netip.ParseAddr(r.Header.Get("X-Client"))
		return addr, false
	}, func(w http.ResponseWriter, r *http.Request, why *httperr.Error) { httperr.Write(w, r, why) })
	g.server = httptest.NewUnstartedServer(g.bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isUpgrade(r) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
		}
		g.arrived <- r.Header.Get("X-Client")
		<-g.proceed
	})))
	g.server.Config.Protocols = &http.Protocols{}
	set(g.server.Config.Protocols)
	g.server.Start()
	t.Cleanup(g.server.Close)
	t.Cleanup(func() { close(g.proceed) })
	return g
}

// send sends a request of a client in the background, and returns its status when it is refused; 0 if it arrived.
func (g *gate) send(t *testing.T, client, header, value string) int {
	t.Helper()
	transport := &http.Transport{Protocols: g.server.Config.Protocols}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Client", client)
	r.Header.Set(header, value)
	refused := make(chan int, 1)
	go func() {
		if resp, err := transport.RoundTrip(r); err == nil {
			resp.Body.Close()
			refused <- resp.StatusCode
		}
	}()
	select {
	case <-g.arrived:
		return 0
	case status := <-refused:
		return status
	case <-time.After(30 * time.Second):
		t.Fatal("neither refused nor served")
		return -1
	}
}

func (g *gate) refusals(name string, why budget.Refusal) float64 {
	return testutil.ToFloat64(g.overload.refusals.WithLabelValues(name, string(why)))
}

func protocols() map[string]func(*http.Protocols) {
	return map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	}
}

func TestRequestsAreShared(t *testing.T) {
	for name, set := range protocols() {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, limits{requests: 8, upgrades: 8}, set)
			for range 4 {
				if got := g.send(t, "203.0.113.1", "A", ""); got != 0 {
					t.Fatalf("within the share: %d", got)
				}
			}
			if got := g.send(t, "203.0.113.1", "A", ""); got != http.StatusTooManyRequests {
				t.Errorf("beyond the share: %d", got)
			}
			for n := range 4 {
				if got := g.send(t, "203.0.113."+string(rune('2'+n)), "A", ""); got != 0 {
					t.Fatalf("another client: %d", got)
				}
			}
			if got := g.send(t, "203.0.113.9", "A", ""); got != http.StatusServiceUnavailable {
				t.Errorf("full: %d", got)
			}
			if g.refusals(budgetRequests, budget.Address) != 1 || g.refusals(budgetRequests, budget.Full) != 1 {
				t.Errorf("counted: %v, %v", g.refusals(budgetRequests, budget.Address), g.refusals(budgetRequests, budget.Full))
			}
			if log := g.log.String(); !strings.Contains(log, "budget=requests reason=address client=203.0.113.1/32") {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// TestPlacesComeBack: each way in which a request ends gives back what it held.
func TestPlacesComeBack(t *testing.T) {
	for name, set := range protocols() {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, limits{requests: 8, upgrades: 8}, set)
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = (&http.Transport{Protocols: g.server.Config.Protocols}).RoundTrip(r) }()
			<-g.arrived
			if g.requests.Open() != 1 {
				t.Errorf("%d open", g.requests.Open())
			}
			cancel()
			g.proceed <- struct{}{}
			for g.requests.Open() != 0 {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// TestStreamsLeaveRoom: server-sent events and gRPC streams cannot take the last quarter.
func TestStreamsLeaveRoom(t *testing.T) {
	g := newGate(t, limits{requests: 8, upgrades: 8}, protocols()["HTTP/2"])
	for n := range 6 {
		header, value := "Accept", "text/event-stream"
		if n%2 == 0 {
			header, value = "Content-Type", "application/grpc"
		}
		if got := g.send(t, "", header, value); got != 0 {
			t.Fatalf("stream %d: %d", n, got)
		}
	}
	if got := g.send(t, "", "Accept", "text/event-stream"); got != http.StatusServiceUnavailable || g.refusals(budgetStreams, budget.Full) != 1 {
		t.Errorf("another stream: %d", got)
	}
	if got := g.send(t, "", "Accept", "text/html"); got != 0 {
		t.Errorf("a request: %d", got)
	}
}

// TestUpgradesHoldNoRequest: open WebSockets have their own budget.
func TestUpgradesHoldNoRequest(t *testing.T) {
	g := newGate(t, limits{requests: 4, upgrades: 10}, protocols()["HTTP/1.1"])
	var conns atomic.Int64
	for n := range 10 {
		dial(t, g.server.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nX-Client: 203.0.113."+string(rune('0'+n))+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		<-g.arrived
		conns.Add(1)
	}
	if g.upgrades.Open() != 10 || g.requests.Open() != 0 || g.handshakes.Open() != 0 {
		t.Errorf("%d upgrades, %d requests, %d handshakes", g.upgrades.Open(), g.requests.Open(), g.handshakes.Open())
	}
	conn := dial(t, g.server.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nX-Client: 203.0.113.99\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp := response1(t, conn); resp.StatusCode != http.StatusServiceUnavailable || g.refusals(budgetUpgrades, budget.Full) != 1 {
		t.Errorf("the eleventh: %d", resp.StatusCode)
	}
	if got := g.send(t, "203.0.113.1", "A", ""); got != 0 {
		t.Errorf("a request: %d", got)
	}
	g.apply(limits{requests: 4, upgrades: 100}, &compiled.SidecarOptions{Upgrades: &compiled.UpgradeLimits{MaxPerAddress: 1}})
	conn = dial(t, g.server.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nX-Client: 203.0.113.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp := response1(t, conn); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second one of an address: %d", resp.StatusCode)
	}
}

// TestIgnoredUpgradesAreRequests: a client that offers h2c, as that of the JDK does, is no WebSocket.
func TestIgnoredUpgradesAreRequests(t *testing.T) {
	g := newGate(t, limits{requests: 8, upgrades: 1}, protocols()["HTTP/1.1"])
	for n := range 4 {
		conn := dial(t, g.server.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: x\r\nX-Client: 203.0.113."+string(rune('0'+n))+"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n\r\n")
		refused := make(chan int, 1)
		go func() {
			if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				refused <- resp.StatusCode
			}
		}()
		select {
		case <-g.arrived:
		case status := <-refused:
			t.Fatalf("request %d: %d", n, status)
		}
	}
	if g.requests.Open() != 4 || g.upgrades.Open() != 0 || g.handshakes.Open() != 0 {
		t.Errorf("%d requests, %d upgrades, %d handshakes", g.requests.Open(), g.upgrades.Open(), g.handshakes.Open())
	}
}

func TestBudgetsFollowTheClass(t *testing.T) {
	rate := 7
	tests := map[string]struct {
		options                    compiled.SidecarOptions
		wantRequests, wantUpgrades budget.Limits
	}{
		"nothing": {compiled.SidecarOptions{}, budget.Limits{Max: 100, MaxPerAddress: 50}, budget.Limits{Max: 200, MaxPerAddress: 100}},
		"lower": {
			compiled.SidecarOptions{Requests: &compiled.RequestLimits{Max: 20, MaxPerAddress: 5}, Upgrades: &compiled.UpgradeLimits{Max: 30}},
			budget.Limits{Max: 20, MaxPerAddress: 5}, budget.Limits{Max: 30, MaxPerAddress: 15},
		},
		"more than the memory allows": {
			compiled.SidecarOptions{Requests: &compiled.RequestLimits{Max: 5000}, Upgrades: &compiled.UpgradeLimits{Max: 5000, MaxPerAddress: 5000}},
			budget.Limits{Max: 100, MaxPerAddress: 50}, budget.Limits{Max: 200, MaxPerAddress: 200},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			b := newBudgets(limits{}, nil, nil, nil)
			b.apply(limits{requests: 100, upgrades: 200}, &tt.options)
			noteLimits(limits{requests: 100, upgrades: 200}, &tt.options, slog.New(slog.NewTextHandler(&log, nil)))
			if b.requests.Limits() != tt.wantRequests || b.upgrades.Limits() != tt.wantUpgrades {
				t.Errorf("requests %+v, upgrades %+v", b.requests.Limits(), b.upgrades.Limits())
			}
			if got := strings.Count(log.String(), "the memory allows fewer"); (got == 2) != (name == "more than the memory allows") {
				t.Errorf("logged: %s", &log)
			}
		})
	}
	e := newEnforcer(t, hello)
	if got := e.minBodyRate(); got != compiled.DefaultMinBodyRate {
		t.Errorf("the rate without a policy is %d", got)
	}
	document := makeDocument(func(p *compiled.Policy) {
		p.Sidecar.Requests = &compiled.RequestLimits{MinBodyRate: &rate}
		p.Sidecar.TrustedProxies = []string{"10.0.0.0/8"}
	})
	if err := e.apply(t.Context(), document, "a"); err != nil {
		t.Fatal(err)
	}
	if got := e.minBodyRate(); got != rate {
		t.Errorf("the policy's rate is %d", got)
	}
	for peer, want := range map[string]string{"203.0.113.9:1": "203.0.113.9", "10.0.0.1:1": "198.51.100.7", "@": "invalid IP"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header = peer, http.Header{"X-Forwarded-For": {"192.0.2.1, 198.51.100.7"}}
		if got, proxied := e.clientOf(r); got.String() != want || proxied != strings.HasPrefix(peer, "10.") {
			t.Errorf("the client of peer %s is %s, %t; want %s", peer, got, proxied, want)
		}
	}
}

// TestRefusalsAreLoggedNowAndThen: a flood of refusals is a few lines.
func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	var log bytes.Buffer
	o, err := newOverload(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	o.now = func() time.Time { return now }
	for range 1000 {
		o.refused(budgetRequests, budget.Full, netip.Prefix{})
	}
	now = now.Add(overloadLogInterval)
	o.refused(budgetRequests, budget.Full, netip.Prefix{})
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "refusals=1000") {
		t.Errorf("%d lines: %s", got, &log)
	}
}

// TestEndedStreamsHoldNoPlaces: a client may reset a stream before its request has taken its places, or in the middle. None is taken for ever.
func TestEndedStreamsHoldNoPlaces(t *testing.T) {
	b := newBudgets(limits{requests: 1 << 20, upgrades: 1}, nil, func(*http.Request) (netip.Addr, bool) { return netip.Addr{}, false }, nil)
	handler := b.bounded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 20000 {
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		r.ProtoMajor = 2
		r.Header.Set("Content-Type", "application/grpc")
		go cancel()
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	for name, of := range map[string]*budget.Budget{budgetRequests: b.requests, budgetStreams: b.streams} {
		for end := time.Now().Add(20 * time.Second); of.Open() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s: %d places of streams that have ended are taken", name, of.Open())
				break
			}
		}
	}
}
