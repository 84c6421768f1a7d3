package vault

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// server is one real Vault for all tests that leave it running.
var server *vaulttest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzzworker"); f != nil && f.Value.String() == "true" {
		os.Exit(m.Run()) // the fuzz workers need no server
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if server, err = vaulttest.Start(); err != nil {
		return 0, err
	}
	defer server.Stop()
	defer func() {
		if databaseServer != nil {
			databaseServer.Close()
		}
	}()
	if err := server.Root().Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		return 0, fmt.Errorf("mounting AppRole: %w", err)
	}
	if err := server.Root().Sys().PutPolicy("reader", `path "secret/data/*" { capabilities = ["read"] }`); err != nil {
		return 0, fmt.Errorf("writing policy: %w", err)
	}
	if err := server.Root().Sys().PutPolicy("signer", `
path "transit/sign/*" { capabilities = ["update"] }
path "transit/keys/*" { capabilities = ["read", "update"] }`); err != nil {
		return 0, fmt.Errorf("writing policy: %w", err)
	}
	return m.Run(), nil
}

// quick shortens the waits. The poll interval is the minimum that a Config accepts.
func quick() pace {
	return pace{first: 20 * time.Millisecond, last: 200 * time.Millisecond, watch: 50 * time.Millisecond,
		refresh: time.Hour, revoke: 5 * time.Second, drain: 100 * time.Millisecond}
}

// harness is a client with its log and metrics.
type harness struct {
	*Client
	registry *prometheus.Registry
	log      *logtest.Buffer
}

// open makes a client of the shared server; change may alter its Config. The client is closed at the end of the test. Then its
// log must not contain a token.
// must hold no token.
func open(t *testing.T, auth Auth, change func(*Config)) *harness {
	t.Helper()
	h := &harness{registry: prometheus.NewRegistry(), log: &logtest.Buffer{}}
	metrics, err := NewMetrics(h.registry)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Address: server.Address, CABundle: server.CABundle, Auth: auth, Timeout: 10 * time.Second, PollInterval: MinPollInterval,
		Metrics: metrics, Logger: slog.New(slog.NewJSONHandler(h.log, nil))}
	if change != nil {
		change(&cfg)
	}
	c, err := newClient(cfg, quick())
	if err != nil {
		t.Fatal(err)
	}
	h.Client = c
	t.Cleanup(func() {
		c.Close()
		if log := h.log.String(); strings.Contains(log, "hvs.") || strings.Contains(log, "s3cret") {
			t.Errorf("the log has a secret: %s", log)
		}
	})
	return h
}

// await waits until the client has the state want.
func (h *harness) await(t *testing.T, want State) Status {
	t.Helper()
	vaulttest.Eventually(t, fmt.Sprintf("state %s; it is %+v", want, h.Status()), func() bool { return h.Status().State == want })
	if got := h.gauge(t, "postern_vault_state", string(want)); got != 1 {
		t.Errorf("postern_vault_state{state=%q} = %v; want 1", want, got)
	}
	return h.Status()
}

// gauge returns the value of a metric whose only or first label has the value label.
func (h *harness) gauge(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// token creates a token with policies; more is added to the request.
func token(t *testing.T, more map[string]any, policies ...string) string {
	t.Helper()
	body := map[string]any{"policies": policies, "ttl": "1h"}
	for k, v := range more {
		body[k] = v
	}
	return server.Write(t, "auth/token/create", body).Auth.ClientToken
}

// tokenFile writes a new token to a file and returns its source.
func tokenFile(t *testing.T, policies ...string) TokenFile {
	t.Helper()
	return TokenFile(file(t, token(t, nil, policies...)))
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unique returns a name that no other test and no other run has, because the tests share one server.
func unique(name string) string { return name + "-" + strings.ToLower(rand.Text()[:8]) }

// put writes the first version of a new secret and returns its path.
func put(t *testing.T, values map[string]any) (path string) {
	t.Helper()
	name := unique("test")
	server.Put(t, name, values)
	return "secret/" + name
}

// putNext writes another version of the secret at path.
func putNext(t *testing.T, path string, values map[string]any) {
	t.Helper()
	server.Put(t, strings.TrimPrefix(path, "secret/"), values)
}

// appRole creates a role and a secret ID; settings are settings of the role.
func appRole(t *testing.T, settings map[string]any) AppRole {
	t.Helper()
	return appRoleOf(t, server, unique("role"), settings)
}

func appRoleOf(t *testing.T, server *vaulttest.Server, name string, settings map[string]any) AppRole {
	t.Helper()
	server.Write(t, "auth/approle/role/"+name, settings)
	id, err := server.Root().Logical().Read("auth/approle/role/" + name + "/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secretID := server.Write(t, "auth/approle/role/"+name+"/secret-id", map[string]any{})
	return AppRole{RoleID: id.Data["role_id"].(string), SecretID: secret.File(file(t, secretID.Data["secret_id"].(string)+"\n"))}
}

// hold acquires a secret until the test ends.
func hold(t *testing.T, h *harness, ref Ref) *Secret {
	t.Helper()
	s, release, err := h.Secret(ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return s
}

// read returns the value of a secret, and fails the test on an error.
func read(t *testing.T, s *Secret) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := s.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(v.Reveal())
}

// currentToken returns the token that the client has.
func (h *harness) currentToken() string {
	l, err := h.session.current(context.Background())
	if err != nil {
		return ""
	}
	return l.token
}
