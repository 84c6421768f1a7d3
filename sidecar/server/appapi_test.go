package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/test/freeport"
)

func withPasswords(p *compiled.Policy) {
	p.Passwords = &compiled.Passwords{Algorithm: "Bcrypt", Cost: 10}
}

// reachable waits until address has a listener.
func reachable(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// hash requests a password hash from the app's API.
func hash(address string) (int, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/passwords/hash", strings.NewReader(`{"password":"correct horse"}`))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestAppAPI(t *testing.T) {
	tests := map[string]struct {
		document *compiled.Policy
		want     int
	}{
		"without a policy": {nil, http.StatusServiceUnavailable},
		"no passwords":     {makeDocument(nil), http.StatusNotFound},
		"passwords":        {makeDocument(withPasswords), http.StatusOK},
		"deleted":          {makeDocument(func(p *compiled.Policy) { withPasswords(p); p.Deleted = true }), http.StatusNotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newEnforcer(t, hello)
			if tt.document != nil {
				if err := c.apply(t.Context(), tt.document, "a"); err != nil {
					t.Fatal(err)
				}
			}
			server := httptest.NewServer(appAPI{enforcer: c, logger: c.logger})
			defer server.Close()
			if got, err := hash(strings.TrimPrefix(server.URL, "http://")); got != tt.want || err != nil {
				t.Errorf("%d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

// TestAppAPIRefusesForeignRequests: the API refuses requests that something outside of the pod caused, in every form.
func TestAppAPIRefusesForeignRequests(t *testing.T) {
	c := newEnforcer(t, hello)
	if err := c.apply(t.Context(), makeDocument(withPasswords), "a"); err != nil {
		t.Fatal(err)
	}
	address := freeport.Address(t)
	defer appAPI{enforcer: c, logger: c.logger, address: address}.start(t.Context())()
	reachable(t, address)
	tests := map[string]struct {
		head string
		want int
	}{
		"the app":                    {"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n", 200},
		"the app, absolute":          {"GET http://localhost:15992/openapi.json HTTP/1.1\r\nHost: evil.example.com\r\n", 200},
		"a rebound name":             {"GET /openapi.json HTTP/1.1\r\nHost: evil.example.com\r\n", 421},
		"rebound, absolute":          {"GET http://evil.example.com/openapi.json HTTP/1.1\r\nHost: localhost\r\n", 421},
		"no host":                    {"GET /openapi.json HTTP/1.1\r\n", 400},
		"HTTP/1.0, no host":          {"GET /openapi.json HTTP/1.0\r\n", 421},
		"two hosts":                  {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\n", 400},
		"a page with Origin":         {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n", 403},
		"a page with Sec-Fetch-Site": {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\n", 403},
		"a proxy":                    {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n", 403},
		"HTTP/2 in cleartext":        {"PRI * HTTP/2.0\r\n", 400},
		"an upgrade to HTTP/2":       {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", 200},
		"CONNECT":                    {"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n", 404},
		"a large head":               {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n", 431},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = fmt.Fprint(conn, tt.head+"Connection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d; want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

// TestAppAPIWaitsForItsPort: if the app uses the port, only the API is missing.
func TestAppAPIWaitsForItsPort(t *testing.T) {
	c := newEnforcer(t, hello)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	stop := appAPI{enforcer: c, logger: c.logger, address: address}.start(t.Context())
	time.Sleep(50 * time.Millisecond)
	taken.Close()
	reachable(t, address)
	stop()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("it listens after it was stopped")
	}
}

// TestAppAPIServesDuringDrain: a login in progress while the sidecar drains can still use the API.
func TestAppAPIServesDuringDrain(t *testing.T) {
	api, arrived, proceed := freeport.Address(t), make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-proceed
		status, err := hash(api)
		_, _ = fmt.Fprint(w, status, " ", err)
	}))
	defer server.Close()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	address := freeport.Address(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Standalone{
			Document: makeDocument(withPasswords), Upstream: target, Listen: address, Loopback: api, SecretsDir: t.TempDir(),
			Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
		}.Run(ctx)
	}()
	reachable(t, address)
	answered := asked(address)
	<-arrived
	reachable(t, api)
	cancel()
	awaitClosed(address)
	time.Sleep(100 * time.Millisecond)
	close(proceed)
	if got := <-answered; got != "200 <nil>" {
		t.Errorf("the app got %s", got)
	}
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestAppAPIOnlyAtLoopbackAddresses(t *testing.T) {
	for _, address := range []string{"0.0.0.0:1", "[::]:1", ":1", "localhost:1", "10.0.0.1:1", "127.0.0.1"} {
		if err := checkAppAPI(address); err == nil {
			t.Errorf("%s was accepted", address)
		}
	}
}
