package resources

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
)

const publicSet = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"d","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// guardedKeys is a server that serves a key set to the holder of the token "s3cret".
func guardedKeys(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(publicSet))
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(s.Close)
	return s
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKeySetsThatAskForAuthentication: from the files of a pod to the keys.
func TestKeySetsThatAskForAuthentication(t *testing.T) {
	server := guardedKeys(t)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	pod := t.TempDir()
	write(t, pod, compiled.KeysTokenName("id"), "s3cret")
	write(t, pod, compiled.KeysTokenName(""), "another")
	write(t, pod, compiled.ClusterCAName, ca)
	secrets := t.TempDir()
	write(t, secrets, "id/token", "s3cret\n")
	account := func(audience string) *compiled.Bearer {
		return &compiled.Bearer{ServiceAccount: &compiled.ServiceAccountToken{Audience: audience}}
	}
	tests := map[string]struct {
		dir     string
		keys    compiled.Keys
		wantErr string // of the document
		want    bool   // that the keys are loaded
	}{
		"the pod's token, the cluster's CA": {dir: pod, keys: compiled.Keys{Bearer: account("id")}, want: true},
		"the pod's token, a CA by field":    {dir: pod, keys: compiled.Keys{Bearer: account("id"), CABundle: ca}, want: true},
		"a token that is refused":           {dir: pod, keys: compiled.Keys{Bearer: account("")}},
		"no token":                          {dir: pod, keys: compiled.Keys{CABundle: ca}},
		"a Secret":                          {dir: pod, keys: compiled.Keys{Bearer: &compiled.Bearer{Secret: &compiled.SecretRef{Name: "id", Key: "token"}}, CABundle: ca}, want: true},
		"a Secret, not the cluster's CA":    {dir: pod, keys: compiled.Keys{Bearer: &compiled.Bearer{Secret: &compiled.SecretRef{Name: "id", Key: "token"}}}},
		"a pod that was injected earlier":   {dir: pod, keys: compiled.Keys{Bearer: account("new")}, wantErr: "restart the pod"},
		"a pod without tokens":              {keys: compiled.Keys{Bearer: account("id")}, wantErr: "restart the pod"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := New(Config{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: secrets, KeysTokenDir: tt.dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			tt.keys.URI = server.URL + "/openid/v1/jwks"
			p := &compiled.Provider{Name: "cluster", Issuer: "https://kubernetes.default.svc", Algorithms: []string{"EdDSA"}, Keys: tt.keys}
			a, err := r.Acquire(&compiled.Policy{Namespace: "shop", Name: "orders", Providers: []compiled.Provider{*p}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
			source, err := a.ProviderKeys(p)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := source.Lookup(t.Context(), "d", "EdDSA"); (err == nil) != tt.want {
				t.Errorf("lookup: %v; want keys: %v", err, tt.want)
			}
		})
	}
}
