package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// client keeps its connections, in HTTP/1.1 or in cleartext HTTP/2.
func client(http2 bool) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func TestLeaveSendsClientsToOtherPods(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			c := newEnforcer(t, hello)
			c.chain.App = stage.Func(func(w http.ResponseWriter, r *http.Request) error { hello(w, r); return nil })
			if err := c.apply(t.Context(), makeDocument(nil), "h"); err != nil {
				t.Fatal(err)
			}
			accepted := &atomic.Int32{}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			app, err := newAppServer(appConfig{handler: c, upgraded: &upgrades{}, stall: stallConfig{stall: stallTimeout}, logger: c.logger})
			if err != nil {
				t.Fatal(err)
			}
			defer app.Close()
			go func() { _ = app.Serve(countListener{listener, accepted}) }()
			h := &health{enforcer: c, now: time.Now}
			h.started.Store(true)
			admin := httptest.NewServer(adminHandler(h, prometheus.NewRegistry(), nil))
			defer admin.Close()
			get := get(t, client(http2), "http://"+listener.Addr().String())
			for range 3 {
				get()
			}
			before := accepted.Load()
			if before > 2 { // on a busy machine the client may dial again before it has returned the first connection
				t.Fatalf("%d connections before", before)
			}
			port := admin.URL[strings.LastIndex(admin.URL, ":")+1:]
			if err := Leave(t.Context(), func(string) string { return port }); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				get()
			}
			if n := accepted.Load() - before; n < 2 {
				t.Errorf("%d more connections: the client was not sent to another pod", n)
			}
			if r := h.readiness(); r.Ready {
				t.Error("a sidecar that leaves is ready")
			}
		})
	}
}

// TestLeavingIgnoresOtherUpgrades: an ignored Upgrade, such as curl's h2c, does not keep the connection open. The
// Connection field of a WebSocket is not changed.
func TestLeavingIgnoresOtherUpgrades(t *testing.T) {
	c := newEnforcer(t, hello)
	c.leaving.Store(true)
	for upgrade, want := range map[string]string{"": "close", "h2c": "close", "WebSocket": ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Upgrade", upgrade)
		recorder := httptest.NewRecorder()
		c.ServeHTTP(recorder, r)
		if got := recorder.Header().Get("Connection"); got != want {
			t.Errorf("Upgrade %q: Connection %q; want %q", upgrade, got, want)
		}
	}
}

// countListener counts connections; http.Server accepts in one goroutine.
type countListener struct {
	net.Listener
	accepted *atomic.Int32
}

func (l countListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

// get returns a function that requests url and expects 200.
func get(t *testing.T, c *http.Client, url string) func() {
	t.Cleanup(c.CloseIdleConnections)
	return func() {
		t.Helper()
		resp, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err != nil { // the client keeps a connection only after the body was read
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

func TestOnlyThePodItselfLeaves(t *testing.T) {
	c := newEnforcer(t, hello)
	h := &health{enforcer: c, now: time.Now}
	for addresses, want := range map[[2]string]int{
		{"127.0.0.1:1", "127.0.0.1"}: http.StatusNoContent, {"[::1]:1", "::1"}: http.StatusNoContent,
		{"[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1"}: http.StatusNoContent, {"10.244.0.9:1", "10.244.0.8"}: http.StatusForbidden,
		{"garbage", "127.0.0.1"}: http.StatusForbidden, {"127.0.0.1:1", ""}: http.StatusForbidden,
		{"127.0.0.6:1", "10.244.0.8"}: http.StatusForbidden, // another pod, through Istio's proxy
	} {
		c.leaving.Store(false)
		r := requestBetween(http.MethodPost, leavePath, addresses[0], addresses[1])
		w := httptest.NewRecorder()
		h.leave(w, r)
		if w.Code != want || c.leaving.Load() != (want == http.StatusNoContent) {
			t.Errorf("%s: %d, leaving %v; want %d", addresses, w.Code, c.leaving.Load(), want)
		}
	}
}

// requestBetween returns a request from remote to the IP address local.
func requestBetween(method, path, remote, local string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = remote
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local)}))
}

func TestLeaveErrors(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	defer nobody.Close()
	for name, port := range map[string]string{"no port": "x", "nobody there": strconv.Itoa(1), "another server": nobody.URL[strings.LastIndex(nobody.URL, ":")+1:]} {
		if err := Leave(t.Context(), func(n string) string { return map[string]string{compiled.EnvAdminPort: port}[n] }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
