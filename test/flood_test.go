package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
)

// floodLimit bounds every wait of the test.
const floodLimit = time.Minute

// flooded is a sidecar that denies /denied and allows the rest, with a number of connections that a test can exceed.
func flooded(t *testing.T, most int) (address string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(app.Close)
	upstream, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	document := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "denied", Match: []compiled.Match{{Paths: []string{"/denied"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce},
		}},
		Sidecar: compiled.SidecarOptions{
			AccessLog: "None", LogLevel: "info", DrainTimeout: compiled.Duration(time.Second),
			Connections: &compiled.Connections{Max: most, IdleTimeout: compiled.Duration(time.Hour)},
		},
	}
	started, done := make(chan netip.AddrPort, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- server.Standalone{
			Document: document, Upstream: upstream, Listen: "127.0.0.1:0", SecretsDir: t.TempDir(), Started: func(a netip.AddrPort) { started <- a },
			Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
		}.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done // an error says that requests were open at the end, which is not what is tested
	})
	select {
	case a := <-started:
		return a.String()
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return ""
}

// attack opens n idle connections from one address, one after the other, each after a denied request, and holds them until the
// test ends. It returns how many got a response.
func attack(t *testing.T, address string, n int) (responses int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Timeout: floodLimit}
	buf := make([]byte, 4096)
	for range n {
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			continue
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(floodLimit))
		if _, err := io.WriteString(conn, "GET /denied HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			continue
		}
		if read, err := conn.Read(buf); err == nil && strings.Contains(string(buf[:read]), " 403 ") {
			responses++
		}
	}
	return responses
}

// TestIdleConnectionsLockNobodyOut: while one client opens thousands of connections and keeps them idle, other clients get 200 for
// each request, on kept and on new connections, and no error.
func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	const most, connections = 1000, 3000
	address := flooded(t, most)
	done := make(chan struct{})
	var good, bad atomic.Int64
	var clients sync.WaitGroup
	for _, keepAlive := range []bool{true, false} {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: floodLimit}
		transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: !keepAlive}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: floodLimit}
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := request(client, address); err != nil {
					bad.Add(1)
					t.Errorf("an honest client: %v", err)
				}
				good.Add(1)
			}
		})
	}
	responses := attack(t, address, connections)
	for range 20 { // with everything that the attacker could hold
		if err := request(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: floodLimit}, address); err != nil {
			t.Errorf("a new client: %v", err)
		}
	}
	close(done)
	clients.Wait()
	if responses < most/2 {
		t.Errorf("the attacker got %d responses: too few for an attack", responses)
	}
	t.Logf("%d connections of the attacker, %d responses; %d requests of honest clients, %d errors", connections, responses, good.Load(), bad.Load())
	if good.Load() < 100 {
		t.Errorf("%d requests of honest clients: too few to say anything", good.Load())
	}
}

// request expects 200 and the app's body.
func request(client *http.Client, address string) error {
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(b) != "hello") {
		return fmt.Errorf("status %d, body %q", resp.StatusCode, b)
	}
	return err
}
