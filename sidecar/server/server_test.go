package server

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/upstream"
)

func makeDocument(change func(*compiled.Policy)) *compiled.Policy {
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "None", LogLevel: "info", DrainTimeout: compiled.Duration(20 * time.Second)},
	}
	if change != nil {
		change(p)
	}
	return p
}

func newEnforcer(t *testing.T, app http.Handler) *enforcer {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	shared, err := resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: log, SecretsDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	proxy, err := upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return strings.TrimPrefix(server.URL, "http://") }, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return &enforcer{resources: shared, level: &slog.LevelVar{}, logger: log, chain: chain.Config{Resources: shared, App: proxy, OnlyPort: 80, Logger: log}}
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })

func status(t *testing.T, handler http.Handler, path string) int {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	resp, err := http.Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestReadinessHidesReasons: the reason is only for clients inside of the pod.
func TestReadinessHidesReasons(t *testing.T) {
	h := &health{enforcer: newEnforcer(t, hello), now: time.Now}
	for from, told := range map[string]bool{"127.0.0.1:4711": true, "[::1]:4711": true, "10.244.0.7:4711": false, "": false} {
		r := requestBetween(http.MethodGet, "/readyz", from, "127.0.0.1")
		recorder := httptest.NewRecorder()
		adminHandler(h, prometheus.NewRegistry(), nil).ServeHTTP(recorder, r)
		if recorder.Code != http.StatusServiceUnavailable || strings.Contains(recorder.Body.String(), "listeners") != told {
			t.Errorf("from %q: %d %s", from, recorder.Code, recorder.Body)
		}
	}
}

func TestNeverStartsOpen(t *testing.T) {
	c := newEnforcer(t, hello)
	if got := status(t, c, "/"); got != http.StatusServiceUnavailable {
		t.Errorf("without a document: %d", got)
	}
}

func TestRefusedDocumentKeepsThePreviousOne(t *testing.T) {
	c := newEnforcer(t, hello)
	if err := c.apply(t.Context(), makeDocument(nil), "first"); err != nil {
		t.Fatal(err)
	}
	bad := makeDocument(func(p *compiled.Policy) { p.CORS = &compiled.CORS{AllowOrigins: []string{"null"}} })
	if err := c.apply(t.Context(), bad, "second"); err == nil {
		t.Fatal("a document that cannot be run was applied")
	}
	c.onActivate = func(_, _ *chain.Snapshot) error { return errors.New("port taken") }
	if err := c.apply(t.Context(), makeDocument(nil), "third"); err == nil {
		t.Fatal("a document whose ports cannot be opened was applied")
	}
	if got := c.current().hash; got != "first" {
		t.Errorf("active: %q", got)
	}
	if got := status(t, c, "/"); got != http.StatusOK {
		t.Errorf("the old policy responds with %d", got)
	}
}

func TestLogLevelFollowsTheDocument(t *testing.T) {
	c := newEnforcer(t, hello)
	if err := c.apply(t.Context(), makeDocument(func(p *compiled.Policy) { p.Sidecar.LogLevel = "debug" }), "a"); err != nil {
		t.Fatal(err)
	}
	if c.level.Level() != slog.LevelDebug {
		t.Errorf("level = %s", c.level.Level())
	}
}

func TestReadiness(t *testing.T) {
	now := time.Now()
	unreachable := func(p *compiled.Policy) {
		p.Providers = []compiled.Provider{{Name: "corp", Issuer: "i", Audiences: []string{"x"}, Algorithms: []string{"RS256"}, Keys: compiled.Keys{
			URI: "https://127.0.0.1:1/keys", RefreshInterval: compiled.Duration(time.Minute), MaxStale: compiled.Duration(time.Hour)}}}
	}
	tests := map[string]struct {
		document          *compiled.Policy
		started, draining bool
		after             time.Duration
		wantReason        string
	}{
		"not started":                {document: makeDocument(nil), wantReason: "listeners are not open"},
		"no document":                {started: true, wantReason: "no document yet"},
		"serving":                    {document: makeDocument(nil), started: true},
		"stopping":                   {document: makeDocument(nil), started: true, draining: true, wantReason: "stopping"},
		"no keys yet":                {document: makeDocument(unreachable), started: true, wantReason: `keys of provider "corp"`},
		"no keys for longer: serves": {document: makeDocument(unreachable), started: true, after: 2 * keysGrace},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newEnforcer(t, hello)
			if tt.document != nil {
				if err := c.apply(t.Context(), tt.document, "h"); err != nil {
					t.Fatal(err)
				}
			}
			h := &health{enforcer: c, now: func() time.Time { return now.Add(tt.after) }}
			h.started.Store(tt.started)
			h.draining.Store(tt.draining)
			r := h.readiness()
			if !strings.Contains(r.Reason, tt.wantReason) || r.Ready != (tt.wantReason == "") {
				t.Errorf("readiness = %+v; want reason %q", r, tt.wantReason)
			}
			admin := adminHandler(h, prometheus.NewRegistry(), nil)
			want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}
			if got := status(t, admin, "/readyz"); got != want[r.Ready] {
				t.Errorf("/readyz responds with %d", got)
			}
			if got := status(t, admin, "/healthz/started"); got != want[tt.started] {
				t.Errorf("/healthz/started responds with %d", got)
			}
			if got := status(t, admin, "/probe/app/liveness"); got != http.StatusNotFound {
				t.Errorf("an unlisted probe responds with %d", got)
			}
		})
	}
}

func TestReadEnvironment(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := map[string]string{
		compiled.EnvNamespace: "shop", compiled.EnvPolicy: "orders", compiled.EnvDocumentKey: key, compiled.EnvOperatorURL: "https://o:9444",
		compiled.EnvOperatorCA: "pem", compiled.EnvInterception: "Takeover", compiled.EnvPodIPs: "10.0.0.1,::1", compiled.EnvExcludedPorts: "22, 23",
		compiled.EnvContainerPorts: `[{"name":"http","number":8080}]`, compiled.EnvAdminPort: "16000",
		compiled.EnvDocumentFloor: "1700000000000",
	}
	e, err := ReadEnvironment(func(name string) string { return good[name] })
	if err != nil || len(e.PodIPs) != 2 || len(e.ExcludedPorts) != 2 || e.ContainerPorts[0].Number != 8080 || e.AdminPort != 16000 || e.InboundPort != compiled.InboundPort ||
		e.DocumentFloor != 1_700_000_000_000 {
		t.Fatalf("%+v, %v", e, err)
	}
	if c := (Pod{Environment: e}).Config(); c.VolumesDir != compiled.VolumesDir || c.SecretsDir != compiled.SecretsDir {
		t.Errorf("volumes in %q, Secrets in %q", c.VolumesDir, c.SecretsDir)
	}
	for name, bad := range map[string]struct{ variable, value string }{
		"no policy":                    {compiled.EnvPolicy, ""},
		"no key":                       {compiled.EnvDocumentKey, ""},
		"a short key":                  {compiled.EnvDocumentKey, "AAAA"},
		"a floor that is not a number": {compiled.EnvDocumentFloor, "high"},
		"a negative floor":             {compiled.EnvDocumentFloor, "-1"},
		"no mode":                      {compiled.EnvInterception, ""},
		"an unknown mode":              {compiled.EnvInterception, "Sniff"},
		"no address":                   {compiled.EnvPodIPs, ""},
		"a bad address":                {compiled.EnvPodIPs, "10.0.0.300"},
		"port 0":                       {compiled.EnvAdminPort, "0"},
		"port 65536":                   {compiled.EnvInboundPort, "65536"},
		"a bad excluded port":          {compiled.EnvExcludedPorts, "ssh"},
		"bad container ports":          {compiled.EnvContainerPorts, "{"},
		"invalid probes":               {compiled.EnvProbes, `[{"name":"x"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadEnvironment(func(name string) string {
				if name == bad.variable {
					return bad.value
				}
				return good[name]
			})
			if err == nil || !strings.Contains(err.Error(), bad.variable) {
				t.Errorf("error = %v; want one that names %s", err, bad.variable)
			}
		})
	}
}

// standalone runs a document in front of app until the returned function is called, which returns Run's error.
func standalone(t *testing.T, p *compiled.Policy, app http.Handler) (address string, stop func() error) {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Standalone{
			Document: p, Upstream: target, Listen: address, SecretsDir: t.TempDir(), Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
		}.Run(ctx)
	}()
	t.Cleanup(cancel)
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return address, func() error { cancel(); return <-done }
}

// asked sends a request in the background. The channel receives the body of the response, or the error.
func asked(address string) <-chan string {
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + address)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- string(body)
	}()
	return answered
}

// awaitClosed waits until a listener is closed, which happens before its accepted requests are finished.
func awaitClosed(address string) {
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(5 * time.Millisecond)
	}
}

func TestDrainLetsOpenRequestsFinish(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	address, stop := standalone(t, makeDocument(nil), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-proceed
		_, _ = io.WriteString(w, "finished")
	}))
	answered := asked(address)
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	awaitClosed(address)
	close(proceed)
	if got := <-answered; got != "finished" {
		t.Errorf("the open request got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestAmbiguousFramingIsRefused(t *testing.T) {
	address, _ := standalone(t, makeDocument(nil), hello)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n")
	received, err := io.ReadAll(conn)
	if err != nil && len(received) == 0 {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(received))), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest || strings.Count(string(received), "HTTP/1.1 ") != 1 {
		t.Errorf("responses %q, %v", received, err)
	}
	var problem struct{ Type string }
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Type == "" {
		t.Errorf("problem %+v, %v", problem, err)
	}
}

func TestRulesApplyToAsteriskForm(t *testing.T) {
	address, _ := standalone(t, makeDocument(func(p *compiled.Policy) { p.Authorization.Default = compiled.RequireDeny }), hello)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
}

func TestStandaloneRefusesUpstreams(t *testing.T) {
	for _, upstream := range []string{"https://127.0.0.1", "http://", "http://a/path", "http://u:p@a", "unix:///x"} {
		u, err := url.Parse(upstream)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Standalone{Document: makeDocument(nil), Upstream: u, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler)}).Run(t.Context()); err == nil || strings.Contains(err.Error(), "u:p") || strings.Contains(err.Error(), "spec.upstreamTLS") != (u.Scheme == "https") {
			t.Errorf("%s: %v", upstream, err)
		}
	}
}
