package server

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/test/freeport"
)

// running is a sidecar that was started by Run.
type running struct {
	address, admin string
	log            *lines
	// reported is what the operator received; nil without an operator.
	reported *lines
	stop     func() error
}

// start runs c until stop is called, and returns when it serves the document.
func start(t *testing.T, address string, c Config) *running {
	t.Helper()
	r := &running{address: address, admin: freeport.Address(t), log: &lines{}}
	c.Admin, c.Level = r.admin, &slog.LevelVar{}
	c.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	r.stop = func() error { cancel(); return <-done }
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, body, err := r.ask("/readyz")
		if status == http.StatusOK || strings.Contains(body, "revocations are not loaded") {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %d %s, %v", status, body, err)
		}
	}
}

// ask sends a request to the admin port.
func (r *running) ask(path string) (status int, body string, err error) {
	resp, err := http.Get("http://" + r.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// inputs start a document in front of app: as a pod does, and as postern run does.
func inputs() map[string]func(*testing.T, *compiled.Policy, http.Handler) *running {
	return map[string]func(*testing.T, *compiled.Policy, http.Handler) *running{"pod": startPod, "postern run": startStandalone}
}

// startPod takes over a port of 127.0.0.2, as a pod's address, from an app at the same port of 127.0.0.1. Its document is
// mounted; the operator receives its reports.
func startPod(t *testing.T, p *compiled.Policy, app http.Handler) *running {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	port := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://")).Port()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := compiled.Sign(p, private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		compiled.DocumentKey: signed.Document, compiled.SignatureKey: []byte(base64.StdEncoding.EncodeToString(signed.Signature)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := &lines{}
	operator := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { log.poll(w, r) }))
	t.Cleanup(operator.Close)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("t0ken"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("127.0.0.2")
	pod := Pod{Environment: Environment{
		Namespace: p.Namespace, Policy: p.Name, DocumentKey: public, DocumentDir: dir, OperatorURL: operator.URL, OperatorCA: certificate(operator), OperatorTokenFile: token,
		Interception: Takeover, PodIPs: []netip.Addr{address}, ContainerPorts: []compiled.ContainerPort{{Name: "http", Number: port}},
		LoopbackPort: netip.MustParseAddrPort(freeport.Address(t)).Port(),
	}}
	r := start(t, netip.AddrPortFrom(address, port).String(), pod.Config())
	r.reported = log
	return r
}

// poll is an operator that records the reported problems, and has no newer document.
func (l *lines) poll(w http.ResponseWriter, r *http.Request) {
	var report compiled.Report
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil || r.URL.Path != compiled.PollPath {
		http.Error(w, "not a poll", http.StatusBadRequest)
		return
	}
	for _, p := range report.Problems {
		fmt.Fprintln(l, "problem", p.Kind, p.Reason)
	}
	select {
	case <-r.Context().Done():
	case <-time.After(time.Second):
	}
	w.WriteHeader(http.StatusNoContent)
}

func startStandalone(t *testing.T, p *compiled.Policy, app http.Handler) *running {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	c := standaloneConfig(t, p, server.URL)
	return start(t, c.Inbound.(plain).address, c)
}

func standaloneConfig(t *testing.T, p *compiled.Policy, upstream string) Config {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	s := Standalone{
		Document: p, Upstream: target, Listen: freeport.Address(t), Loopback: freeport.Address(t), SecretsDir: t.TempDir(),
		Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler),
	}
	c, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBothInputsHaveOneWiring: everything that a pod has, postern run has as well.
func TestBothInputsHaveOneWiring(t *testing.T) {
	for name, start := range inputs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, proceed := make(chan struct{}), make(chan struct{})
			r := start(t, makeDocument(withPasswords), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					close(arrived)
					<-proceed
				}
				_, _ = io.WriteString(w, "hello")
			}))
			if got := <-asked(r.address + "/"); got != "hello" {
				t.Fatalf("a request got %q", got)
			}
			r.refusesAmbiguousFraming(t)
			_, metrics, err := r.ask("/metrics")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`postern_framing_refusals_total{code=`, `postern_overload_refusals_total{budget="upgrades",reason="address"} 0`, `postern_budget_max{budget="streams"}`, "postern_slow_bodies_total 0", "postern_sidecar_info"} {
				if !strings.Contains(metrics, want) {
					t.Errorf("the metrics have no %s", want)
				}
			}
			slow := asked(r.address + "/slow")
			<-arrived
			stopped := make(chan error, 1)
			go func() { stopped <- r.stop() }()
			awaitClosed(r.address)
			if status, body, err := r.ask("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
				t.Errorf("/readyz while it drains: %d %s, %v", status, body, err)
			}
			close(proceed)
			if got := <-slow; got != "hello" {
				t.Errorf("the open request got %q", got)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			if _, _, err := r.ask("/readyz"); err == nil {
				t.Error("the admin port is still open after the stop")
			}
		})
	}
}

func (r *running) refusesAmbiguousFraming(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("ambiguous framing: %d", resp.StatusCode)
	}
}

// unavailableRedis makes the document depend on a Redis that does not exist.
func unavailableRedis(p *compiled.Policy) {
	p.Redis = &compiled.Redis{Mode: "Standalone", Addresses: []string{"127.0.0.1:1"}, Timeout: compiled.Duration(100 * time.Millisecond)}
	p.Revocation = &compiled.Revocation{OnFailure: compiled.Allow, Mode: compiled.Enforce, MaxStaleness: compiled.Duration(5 * time.Second)}
}

// TestBothInputsReportProblems: a pod reports to the operator, and postern run to its log.
func TestBothInputsReportProblems(t *testing.T) {
	for name, start := range inputs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, makeDocument(unavailableRedis), hello)
			if r.reported != nil {
				r.reported.await(t, 1, "problem Redis Unavailable")
			} else {
				r.log.await(t, 1, `msg="a dependency is unavailable" dependency=Redis reason=Unavailable`)
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestProblemsAreLoggedOnce: a problem is logged when it begins, and when it has ended.
func TestProblemsAreLoggedOnce(t *testing.T) {
	log := &lines{}
	l := &logged{logger: slog.New(slog.NewTextHandler(log, nil))}
	redis := compiled.Problem{Kind: compiled.ProblemRedis, Reason: "Unavailable", Message: "attempt 1"}
	again := redis
	again.Message = "attempt 2"
	for _, problems := range [][]compiled.Problem{nil, {redis}, {redis}, {again}, nil, nil} {
		l.SetProblems(problems)
	}
	for text, want := range map[string]int{"is unavailable": 1, "is available again": 1, "attempt 1": 1, "attempt 2": 0} {
		if n := strings.Count(log.b.String(), text); n != want {
			t.Errorf("%q is logged %d times; want %d:\n%s", text, n, want, log.b.String())
		}
	}
}

// ownAddress is a free address that no other process takes after the test has closed it: others listen at 127.0.0.1.
func ownAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// listenAddress is the address of the one listener.
func listenAddress(inbound Inbound) string {
	if r, ok := inbound.(refusing); ok {
		return r.address
	}
	return inbound.(plain).address
}

var errNoListener = errors.New("no listener for the snapshot")

// refusing refuses every snapshot.
type refusing struct{ plain }

func (refusing) follow(*listen.Set, *chain.Snapshot, *chain.Snapshot) error { return errNoListener }

var errNoDocument = errors.New("no document can be had")

// failing are documents whose start fails after clients have connected, more than there are places.
type failing struct {
	t       *testing.T
	address string
}

func (f failing) start(context.Context, *enforcer) (reports, error) {
	for i := range 3 * minLimit {
		conn, err := from(fmt.Sprintf("127.0.2.%d", 1+i%100)).Dial("tcp", f.address)
		if err != nil {
			f.t.Error(err)
			break
		}
		f.t.Cleanup(func() { conn.Close() })
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	return nil, errNoDocument
}

// TestFailedStartEnds: a failed start returns its error, even if listeners are open and clients are connected.
func TestFailedStartEnds(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := map[string]struct {
		document *compiled.Policy
		change   func(*Config)
		// connects says that a client connects before the start has failed.
		connects bool
		wantErr  string
	}{
		"the admin port is taken": {makeDocument(nil), func(c *Config) { c.Admin = taken.Addr().String() }, false, "opening the admin port"},
		"the port is taken": {makeDocument(nil), func(c *Config) {
			c.Inbound = plain{address: taken.Addr().String(), app: "127.0.0.1:1"}
		}, false, "address already in use"},
		"a reachable address of the API": {makeDocument(nil), func(c *Config) { c.AppAPI = "0.0.0.0:15992" }, false, "not a loopback address"},
		"the documents are refused": {makeDocument(nil), func(c *Config) {
			c.Documents = failing{t, c.Inbound.(plain).address}
		}, false, errNoDocument.Error()},
		"the snapshot is refused": {
			makeDocument(unavailableRedis), // Build waits for Redis while the listener is open
			func(c *Config) { c.Inbound = refusing{c.Inbound.(plain)} }, true, errNoListener.Error(),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := standaloneConfig(t, tt.document, "http://127.0.0.1:1")
			address := ownAddress(t)
			c.Inbound, c.Admin = plain{address: address, app: "127.0.0.1:1"}, ownAddress(t)
			if tt.change != nil {
				tt.change(&c)
			}
			done := make(chan error, 1)
			go func() { done <- Run(t.Context(), c) }()
			if tt.connects {
				reachable(t, address)
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v; want one about %q", err, tt.wantErr)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("Run neither serves nor returns")
			}
			for _, a := range []string{listenAddress(c.Inbound), c.Admin} {
				if a == taken.Addr().String() {
					continue
				}
				if conn, err := net.Dial("tcp", a); err == nil {
					conn.Close()
					t.Errorf("%s is still open after the stop", a)
				} else if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", a, err)
				}
			}
		})
	}
}

// certificate returns the certificate of a TLS server, as PEM.
func certificate(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}
