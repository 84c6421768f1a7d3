package simulation_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/simulation"
)

// TestFilesFromVault: a policy whose key files are in Vault runs with files of the folder of Secrets, and without them nobody is known.
func TestFilesFromVault(t *testing.T) {
	key, err := apikey.New()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  int
	}{
		"with files": {
			files: map[string]string{"secret-shop-keys/k": "- {id: ci, subject: s, hash: '" + apikey.Hash(key) + "'}", "secret-users/u": "ada:" + string(hash)}, want: 200,
		},
		"without": {want: 503},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for path, text := range tt.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := simulation.New(vaultPolicy(), simulation.Config{Keys: simulation.NewKeys(), SecretsDir: dir, Start: time.Unix(1e9, 0)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			user := &http.Request{Header: http.Header{}}
			user.SetBasicAuth("ada", "right")
			for _, header := range []http.Header{{"X-Api-Key": {key}}, user.Header} {
				r, err := s.Send(t.Context(), simulation.Request{Method: "GET", Path: "/", Host: "app.example.com", Address: simulation.DefaultAddress, Header: header, App: simulation.AppResponse{Status: 200}})
				if err != nil || r.Status != tt.want {
					t.Errorf("%v, %+v; want %d", err, r, tt.want)
				}
			}
		})
	}
}

func vaultPolicy() *compiled.Policy {
	const second = compiled.Duration(time.Second)
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce},
		APIKeys: &compiled.APIKeys{
			From: []compiled.APIKeyLocation{{Header: "X-API-Key"}}, Mode: compiled.Enforce,
			Keys: &compiled.SecretRef{VaultPath: "secret/shop/keys", Key: "k"}, Users: &compiled.SecretRef{VaultPath: "secret/users", Key: "u"},
		},
		Vault:   &compiled.Vault{Address: "https://vault.example.com", Timeout: second, PollInterval: second, MaxStale: second, Kubernetes: &compiled.VaultKubernetes{Mount: "kubernetes", Role: "shop", Audience: "vault"}},
		Sidecar: compiled.SidecarOptions{AccessLog: "All", LogLevel: "info"},
	}
}
