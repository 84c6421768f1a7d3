package transit

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// server is one real Vault for all tests.
var server *vaulttest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.fuzzworker"); f != nil && f.Value.String() == "true" {
		os.Exit(m.Run()) // the fuzz workers need no server
	}
	var err error
	if server, err = vaulttest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

// open returns an engine whose client has a policy: "signer" allows using Transit, "reader" does not.
func open(t *testing.T, policy string) *Engine {
	t.Helper()
	server.Policy(t, "reader", `path "secret/data/*" { capabilities = ["read"] }`)
	server.Policy(t, "signer", `
path "transit/sign/*" { capabilities = ["update"] }
path "transit/keys/*" { capabilities = ["read", "update"] }`)
	created := server.Write(t, "auth/token/create", map[string]any{"policies": []string{policy}, "ttl": "1h"})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(created.Auth.ClientToken), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := vault.New(vault.Config{Address: server.Address, CABundle: server.CABundle, Auth: vault.TokenFile(file)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	engine, err := New(client, "")
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// unique returns a name that no other test has, because the tests share one server.
func unique(name string) string { return name + "-" + strings.ToLower(rand.Text()[:8]) }
