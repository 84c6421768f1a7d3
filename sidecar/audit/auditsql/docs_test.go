package auditsql_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/audit-database.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPageQuotes: the page has the statements that the tests run, and a row for each table.
func TestPageQuotes(t *testing.T) {
	t.Parallel()
	text := page(t)
	for name, statement := range map[string]string{"roles.sql": auditsql.Roles, "vault-writer.sql": auditsql.VaultWriter} {
		if !strings.Contains(text, "```sql\n"+statement+"```\n") {
			t.Errorf("docs/audit-database.md does not quote %s", name)
		}
	}
	db := auditsqltest.New(t, shared)
	rows, err := shared.Connect(t, db.Name).Query(t.Context(), "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) != 7 {
		t.Fatalf("tables %v, %v", names, err)
	}
	for _, name := range names {
		if !strings.Contains(text, "\n| `"+name+"` |") {
			t.Errorf("docs/audit-database.md has no row for %s", name)
		}
	}
}

// TestVaultMakesWriters sets up Vault as the page says, with a user of Vault's that is no superuser.
func TestVaultMakesWriters(t *testing.T) {
	t.Parallel()
	db := auditsqltest.New(t, shared)
	text := page(t)
	for _, statement := range []string{"CREATE ROLE vault LOGIN CREATEROLE PASSWORD '…';", "GRANT postern_audit_writer TO vault WITH ADMIN OPTION;"} {
		if !strings.Contains(text, statement) {
			t.Errorf("the page has no %s", statement)
		}
		shared.Do(t, db.Name, strings.ReplaceAll(statement, "…", "vault-s3cret"))
	}
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.ConnectDatabase(t, "database", shared.Addr, "vault", "vault-s3cret")
	const revocation = `DROP ROLE IF EXISTS "{{name}}";`
	if !strings.Contains(text, "revocation_statements='"+revocation+"'") {
		t.Error("the page has no revocation statement")
	}
	server.Write(t, "database/roles/postern-audit", map[string]any{"db_name": "postgres", "default_ttl": "1h", "max_ttl": "24h",
		"creation_statements": auditsql.VaultWriter, "revocation_statements": revocation})
	_, policy, _ := strings.Cut(text, "The policy of the sidecars' Vault role")
	_, policy, _ = strings.Cut(policy, "```\n")
	policy, _, _ = strings.Cut(policy, "```")
	server.Policy(t, "postern-audit", policy)
	file := filepath.Join(t.TempDir(), "token")
	token := server.Write(t, "auth/token/create", map[string]any{"policies": []string{"postern-audit"}}).Auth.ClientToken
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := vault.New(vault.Config{Address: server.Address, CABundle: server.CABundle, Auth: vault.TokenFile(file)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	account, release, err := client.Account("database/creds/postern-audit")
	if err != nil {
		t.Fatal(err)
	}
	user, password, _, err := account.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn := shared.ConnectAs(t, user, string(password.Reveal()), db.Name)
	if _, err := conn.Exec(t.Context(), "INSERT INTO audit_checkpoints (writer, size, time, note) VALUES ($1, 1, now(), 'note')", writer); err != nil {
		t.Error(err)
	}
	if !denied(t, conn, "SELECT count(*) FROM audit_checkpoints") {
		t.Error("the account may read")
	}
	release()
	admin := shared.Connect(t, db.Name)
	vaulttest.Eventually(t, "the account to be removed", func() bool {
		rows, err := admin.Query(t.Context(), "SELECT rolname FROM pg_roles")
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		return err == nil && !slices.Contains(names, user)
	})
}
