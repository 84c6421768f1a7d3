package jwks

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// guarded is an issuer's server that serves its keys to the holder of a token.
type guarded struct {
	*origin
	token atomic.Pointer[string]
	paths atomic.Pointer[map[string]string] // the Authorization header of the last request, by path
}

func newGuarded(t *testing.T, token string) *guarded {
	t.Helper()
	g := &guarded{}
	g.token.Store(&token)
	g.paths.Store(&map[string]string{})
	body := jwkSet(t, rsaJWK(t, "a"))
	g.origin = newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen := map[string]string{r.URL.Path: r.Header.Get("Authorization")}
		for path, value := range *g.paths.Load() {
			if seen[path] == "" {
				seen[path] = value
			}
		}
		g.paths.Store(&seen)
		switch {
		case r.Header.Get("Authorization") != "Bearer "+*g.token.Load():
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/jwks.json", http.StatusFound)
		default:
			serve(body)(w, r)
		}
	})
	return g
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g *guarded) spec(path string) Spec {
	spec := g.origin.spec()
	spec.Bearer, spec.BearerName = secret.File(path), path
	return spec
}

// TestBearerToken: the token is sent, and read again for each fetch.
func TestBearerToken(t *testing.T) {
	g := newGuarded(t, "s3cret-1")
	path := tokenFile(t, "s3cret-1\n")
	log := &logtest.Buffer{}
	m, _ := newTestManager(t, &clock{})
	m.log = slog.New(slog.NewJSONHandler(log, nil))
	s := acquire(t, m, g.spec(path))
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	next := "s3cret-2"
	g.token.Store(&next)
	reload := func() error {
		a := s.(*polled).start()
		<-a.done
		return a.err
	}
	if err := reload(); err == nil || !strings.Contains(err.Error(), "status 401") || !strings.Contains(err.Error(), "jwks.bearerToken") {
		t.Errorf("with the old token: %v", err)
	}
	if err := os.WriteFile(path, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reload(); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	for _, bad := range []string{"two\nlines", "a b", "ü", strings.Repeat("a", maxBearer+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reload(); err == nil || !strings.Contains(err.Error(), "not one line of printable text") {
			t.Errorf("token %.20q: %v", bad, err)
		}
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log has the token: %s", log.String())
	}
}

// TestRedirectDropsBearerToken: not even the same server gets the token after a redirect.
func TestRedirectDropsBearerToken(t *testing.T) {
	g := newGuarded(t, "s3cret")
	spec := g.spec(tokenFile(t, "s3cret"))
	spec.URI = g.URL + "/moved"
	m, _ := newTestManager(t, &clock{})
	s := acquire(t, m, spec)
	if _, err := lookup(t, s, "a"); err == nil {
		t.Error("the redirected request was authenticated")
	}
	seen := *g.paths.Load()
	if value, ok := seen["/jwks.json"]; !ok || value != "" || seen["/moved"] != "Bearer s3cret" {
		t.Errorf("Authorization by path: %q", seen)
	}
}

// TestClusterCA: the CA is a file that changes while the sidecar runs, and nothing else is trusted.
func TestClusterCA(t *testing.T) {
	g := newGuarded(t, "s3cret")
	foreign, _, err := vaulttest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	ca := tokenFile(t, string(foreign))
	spec := g.spec(tokenFile(t, "s3cret"))
	spec.CABundle, spec.CAFile = nil, ca
	m, _ := newTestManager(t, &clock{})
	s := acquire(t, m, spec)
	load := func() error {
		a := s.(*polled).start()
		<-a.done
		return a.err
	}
	if err := load(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of another CA: %v", err)
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(); err != nil {
		t.Errorf("after the CA changed: %v", err)
	}
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if err := load(); err == nil || !strings.Contains(err.Error(), "CA of the cluster") {
		t.Errorf("without the file: %v", err)
	}
}

// TestPlainHTTP: an http URI needs an explicit field, and never gets a token.
func TestPlainHTTP(t *testing.T) {
	m, _ := newTestManager(t, &clock{})
	const uri = "http://keys.shop.svc/jwks.json"
	if _, _, err := m.Acquire(Spec{Algorithms: every(), URI: uri}); err == nil {
		t.Error("plain HTTP is accepted")
	}
	_, release, err := m.Acquire(Spec{Algorithms: every(), URI: uri, InsecureHTTP: true})
	if err != nil {
		t.Fatalf("with InsecureHTTP: %v", err)
	}
	release()
	_, _, err = m.Acquire(Spec{Algorithms: every(), URI: uri, InsecureHTTP: true, Bearer: secret.File("/x"), BearerName: "x"})
	if err == nil || !strings.Contains(err.Error(), "https only") {
		t.Errorf("a token over plain HTTP: %v", err)
	}
}
