package postgres

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/test/servertest"
)

// TestVaultRotatesWhileCopying copies batches while Vault replaces the account twice, then seals Vault: the last account is used until
// it ends. No batch fails before, and no row is lost or twice.
func TestVaultRotatesWhileCopying(t *testing.T) {
	t.Parallel()
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.ConnectDatabase(t, "database", shared.Addr, postgrestest.Superuser, shared.Password)
	server.DatabaseRole(t, "database/roles/audit", 6*time.Second, 12*time.Second,
		`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`)
	server.Policy(t, "audit", `path "database/creds/audit" { capabilities = ["read"] }`) // and the default policy, to renew
	account := vaultAccount(t, server, "audit")
	h := up(t, shared, func(c *Config) { c.Credentials = account })
	var sent int64 = 1000
	copyOne := func() {
		t.Helper()
		sent++
		if err := h.copy(t.Context(), sent); err != nil {
			t.Fatalf("batch %d: %v", sent, err)
		}
	}
	users := map[string]bool{}
	for len(users) < 3 {
		copyOne()
		_, user, err := h.backend(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		users[user] = true
	}
	server.Seal(t)
	copyOne()
	servertest.Eventually(t, "the last account to end", func() bool {
		_, _, _, err := account.Credentials(t.Context())
		return err != nil
	})
	server.Unseal(t)
	servertest.Eventually(t, "another account", func() bool {
		_, _, _, err := account.Credentials(t.Context())
		return err == nil
	})
	h.awaitUp(t)
	copyOne()
	var rows, last int64
	err = shared.Connect(t, h.database).QueryRow(t.Context(), "SELECT count(*), max(n) FROM kept WHERE n > 1000").Scan(&rows, &last)
	if err != nil || rows != sent-1000 || last != sent {
		t.Errorf("%d rows, the last is %d, %v; want %d", rows, last, err, sent-1000)
	}
}

// TestVaultRevokes: somebody revokes all accounts of the role, which are valid for an hour. The pool's connections are of no use then; it
// gets another account as soon as a login is rejected.
func TestVaultRevokes(t *testing.T) {
	t.Parallel()
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.ConnectDatabase(t, "database", shared.Addr, postgrestest.Superuser, shared.Password)
	group, _ := shared.User(t)
	server.DatabaseRole(t, "database/roles/audit", time.Hour, time.Hour,
		`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' IN ROLE `+group)
	server.Policy(t, "audit", `path "database/creds/audit" { capabilities = ["read"] }`)
	account := vaultAccount(t, server, "audit")
	h := newHarness(t, shared, func(c *Config) { c.Credentials = account })
	shared.Do(t, h.database, "REVOKE ALL ON kept FROM PUBLIC", "GRANT INSERT, SELECT ON kept TO "+group)
	h.awaitUp(t)
	_, first, err := h.backend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Write(t, "sys/leases/revoke-prefix/database/creds/audit", map[string]any{})
	servertest.Eventually(t, "a batch of another account", func() bool {
		if err := h.copy(t.Context(), 1); err != nil {
			return false
		}
		_, user, err := h.backend(t.Context())
		return err == nil && user != first
	})
}

// vaultAccount returns the account database/creds/<role> of a client with a policy.
func vaultAccount(t *testing.T, server *vaulttest.Server, role string) *vault.Account {
	t.Helper()
	token := server.Write(t, "auth/token/create", map[string]any{"policies": []string{role}, "ttl": "1h"}).Auth.ClientToken
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := vault.New(vault.Config{Address: server.Address, CABundle: server.CABundle, Auth: vault.TokenFile(file), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	account, release, err := client.Account("database/creds/" + role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return account
}
