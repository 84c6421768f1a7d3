package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// auditServer is a TLS server with an empty database and a user who may become the owner.
func auditServer(t *testing.T) (server *postgrestest.Server, address, password string) {
	t.Helper()
	for _, name := range []string{"PGSSLMODE", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSSLROOTCERT", "PGPASSFILE", "PGSERVICE"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	server = postgrestest.Start(t, postgrestest.Options{TLS: true})
	database := server.Database(t)
	roles, _, err := run(t, "", "audit", "roles")
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, database, roles)
	user, password := server.User(t, auditsql.Owner)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, server.CABundle, 0o600); err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "postgresql", User: url.User(user), Host: server.Addr, Path: database, RawQuery: url.Values{"sslrootcert": {ca}}.Encode()}
	return server, u.String(), password
}

func TestAudit(t *testing.T) {
	_, address, password := auditServer(t)
	t.Setenv("PGPASSWORD", password)
	steps := []struct {
		command, want string
	}{
		{"migrate", "migration 1 applied\n"},
		{"migrate", "the database is up to date\n"},
		{"maintain", "nothing to do\n"},
	}
	for _, s := range steps {
		if out, _, err := run(t, "", "audit", s.command, "--database-url", address); err != nil || out != s.want {
			t.Errorf("%s: %q, %v; want %q", s.command, out, err, s.want)
		}
	}
}

func TestAuditMaintain(t *testing.T) {
	server, address, password := auditServer(t)
	t.Setenv("PGPASSWORD", password)
	if _, _, err := run(t, "", "audit", "migrate", "--database-url", address); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	server.Do(t, database, `INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days)
		SELECT gen_random_uuid(), gen_random_uuid(), 1, sha256('\x00'), '', now() - n * interval '90 days', 30 FROM generate_series(0, 1) n`)
	out, _, err := run(t, "", "audit", "maintain", "--database-url", address, "--months-ahead", "1", "--retentions", "30,400")
	if err != nil || strings.Count(out, "audit_logs_30d_") != 4 || strings.Count(out, "audit_logs_400d_") != 2 || !strings.Contains(out, "dropped: audit_logs_30d_") || !strings.Contains(out, "moved out of default partitions: 4 rows") {
		t.Errorf("%q, %v", out, err)
	}
	conn := server.Connect(t, database)
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", int64(0x706f7374_02)); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, "", "audit", "maintain", "--database-url", address); err != nil || out != "another process maintains the audit trail\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAuditDatabase(t *testing.T) {
	server, address, password := auditServer(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		changed := *u
		change(&changed)
		return changed.String()
	}
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(server.Addr, ":")
	variables := map[string]string{"PGHOST": host, "PGPORT": port, "PGUSER": u.User.Username(), "PGDATABASE": strings.TrimPrefix(u.Path, "/"),
		"PGSSLROOTCERT": u.Query().Get("sslrootcert"), "PGPASSWORD": password}
	tests := map[string]struct {
		url     string
		env     map[string]string
		wantErr string
	}{
		"the variables":             {env: variables},
		"a URL and a password file": {url: address, env: map[string]string{"PGPASSFILE": passfile}},
		"a password in the URL":     {url: with(func(u *url.URL) { u.User = url.UserPassword("ada", password) }), wantErr: "without a password"},
		"a password in a parameter": {url: "host=" + host + " password=" + password, wantErr: "without a password"},
		"a malformed URL":           {url: "postgresql://ada:" + password + "@[", wantErr: "without a password"},
		"an unknown authority":      {url: with(func(u *url.URL) { u.RawQuery = "" }), env: map[string]string{"PGPASSWORD": password}, wantErr: "certificate"},
		"no TLS":                    {url: with(func(u *url.URL) { u.RawQuery = "sslmode=disable" }), env: map[string]string{"PGPASSWORD": password}, wantErr: "no encryption"},
		"the wrong password":        {url: address, env: map[string]string{"PGPASSWORD": "wrong-s3cret"}, wantErr: "authentication failed"},
		"an invalid variable":       {env: map[string]string{"PGHOST": "localhost", "PGSSLMODE": "sometimes"}, wantErr: "PG variable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			for _, command := range []string{"migrate", "maintain"} {
				_, _, err := run(t, "", "audit", command, "--database-url", tt.url)
				if tt.wantErr == "" && err != nil {
					t.Errorf("%s: %v", command, err)
				}
				if tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "s3cret")) {
					t.Errorf("%s: %v; want %q", command, err, tt.wantErr)
				}
			}
		})
	}
}

func TestAuditArguments(t *testing.T) {
	for name, args := range map[string][]string{
		"an argument": {"migrate", "postgresql://db"}, "no months": {"maintain", "--months-ahead", "0"}, "many months": {"roles", "x"},
	} {
		if _, _, err := run(t, "", append([]string{"audit"}, args...)...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
