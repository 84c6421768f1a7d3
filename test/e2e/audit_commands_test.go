//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posterndev/postern/sidecar/audit/record"
)

const auditReader = "postern_audit_reader"

// testAuditCommands reads the trail as an auditor does, who is a member of postern_audit_reader.
func (s *auditedShop) testAuditCommands(t *testing.T) {
	t.Run("search", s.testSearch)
	t.Run("tail", s.testTail)
	t.Run("export", s.testExport)
	t.Run("log", s.testLogSink)
}

// testSearch: with the key of the trail the encrypted fields can be read, and without it they cannot.
func (s *auditedShop) testSearch(t *testing.T) {
	search := func(args ...string) string {
		t.Helper()
		out, err := s.postern(t, auditReader, append([]string{"audit", "search", "--subject", "ada", "--since", "1h"}, args...)...)
		if err != nil {
			t.Fatalf("postern audit search: %v", err)
		}
		return out
	}
	var r record.Record
	if err := json.Unmarshal([]byte(search("--action", "CREATE", "-o", "jsonl", "--key-file", s.keyFile)), &r); err != nil {
		t.Fatal(err)
	}
	changes, err := json.Marshal(r.Changes)
	if want := `{"email":{"redacted":true},"name":{"after":"Grace"},"role":{"after":"member"}}`; err != nil || string(changes) != want || r.UserAgent != firefox {
		t.Errorf("the user agent is %q, and the changes are %s, want %s", r.UserAgent, changes, want)
	}
	text := search("--key-file", s.keyFile)
	for _, want := range []string{" login success subject=ada ", " authorization_refused refused reason=access-denied subject=ada ", ` by=support-7 resource=user/42 changes={"role":{"before":"member","after":"admin"}}`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 6 {
		t.Errorf("%d lines; want 6 of ada's\n%s", n, text)
	}
	if without := search(); strings.Contains(without, "Grace") || strings.Contains(without, "member") {
		t.Errorf("the changes can be read without the key:\n%s", without)
	}
	csv := search("--action", "UPDATE", "-o", "csv")
	if lines := strings.Split(csv, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "time,id,policy,") {
		t.Errorf("the CSV is\n%s", csv)
	}
}

// testTail: a record that is written meanwhile is printed.
func (s *auditedShop) testTail(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := s.command(t, ctx, auditReader, "audit", "tail", "--action", "login", "--interval", "500ms")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out := &shared{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	seen := func(text string) {
		t.Helper()
		eventually(t, "waiting for the tail of the trail", func() error {
			if !strings.Contains(out.String(), text) {
				return errors.New(text + " is not in\n" + out.String())
			}
			return nil
		})
	}
	seen("subject=mallory")
	s.mustLogin(t, s.urls[1], "tycho", safari)
	seen("subject=tycho")
	cancel()
	if err := c.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("tail, interrupted: %v\n%s", err, out)
	}
	if n := strings.Count(out.String(), "subject=mallory"); n != 1 {
		t.Errorf("a record is printed %d times:\n%s", n, out)
	}
}

// testExport: an export verifies without the database, with the public key alone.
func (s *auditedShop) testExport(t *testing.T) {
	out, err := s.postern(t, auditReader, "audit", "export")
	if err != nil {
		t.Fatalf("postern audit export: %v", err)
	}
	file := filepath.Join(t.TempDir(), "trail.jsonl")
	write(t, file, out)
	key, err := s.postern(t, "", "audit", "public-key", "--key-file", s.keyFile)
	if err != nil {
		t.Fatalf("postern audit public-key: %v", err)
	}
	if out, err := s.postern(t, "", "audit", "verify", "-f", file, "--public-key", strings.TrimSpace(key)); err != nil || !strings.Contains(out, "of 2 writers from ") || !strings.Contains(out, "no fault found") {
		t.Errorf("verifying the export: %v\n%s", err, out)
	}
	s.verified(t)
}

// verified fails the test if postern audit verify finds a fault in the database. It returns what the command prints.
func (d *auditDatabase) verified(t *testing.T) string {
	t.Helper()
	began := time.Now()
	out, err := d.postern(t, auditReader, "audit", "verify", "--key-file", d.keyFile)
	if err != nil || !strings.Contains(out, "no fault found") {
		t.Errorf("postern audit verify: %v\n%s", err, out)
	}
	measured(t, "postern audit verify: %s in %s", strings.ReplaceAll(strings.TrimSpace(out), "\n", "; "), since(began))
	return out
}

// testLogSink: the log of the pods has the same records, and verifies as it is.
func (s *auditedShop) testLogSink(t *testing.T) {
	ids := map[string]bool{}
	for _, r := range s.rows(t, time.Time{}) {
		ids[r.ID.String()] = true
	}
	var all strings.Builder
	for _, p := range s.pods("accounts") {
		out, err := kubectl("logs", "-n", s.shop.name, p.Name, "-c", "postern")
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(out)
	}
	for line := range strings.SplitSeq(all.String(), "\n") {
		var l struct {
			Msg   string
			Audit struct{ ID string }
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "audit" {
			if !ids[l.Audit.ID] {
				t.Errorf("the table does not have %s", line)
			}
			delete(ids, l.Audit.ID)
		}
	}
	if len(ids) > 0 {
		t.Errorf("the logs do not have %v", ids)
	}
	c := s.command(t, t.Context(), "", "audit", "verify", "-f", "-", "--key-file", s.keyFile)
	c.Stdin = strings.NewReader(all.String())
	if out, err := output(c); err != nil || !strings.Contains(out, "no fault found") {
		t.Errorf("verifying the logs: %v\n%s", err, out)
	}
}

// testLeastPrivilege: an account of a writer can neither read, change nor delete what it has written.
func (s *auditedShop) testLeastPrivilege(t *testing.T) {
	granted, err := s.auditDatabase.vault.Logical().ReadWithContext(t.Context(), s.credentials())
	if err != nil {
		t.Fatal(err)
	}
	user, _ := granted.Data["username"].(string)
	password, _ := granted.Data["password"].(string)
	conn := s.ConnectAs(t, user, password, s.auditDatabase.name)
	for _, table := range []string{"audit_logs", "audit_checkpoints", "audit_subject_keys", "audit_erasures", "audit_holds"} {
		for _, statement := range []string{"SELECT count(*) FROM ", "DELETE FROM ", "TRUNCATE ", "DROP TABLE ", "INSERT INTO audit_erasures (subject_hash) SELECT 'x' FROM "} {
			_, err := conn.Exec(t.Context(), statement+table)
			if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42501" {
				t.Errorf("%s%s: %v; want insufficient_privilege", statement, table, err)
			}
		}
	}
	for _, statement := range []string{"UPDATE audit_logs SET action = 'x'", "UPDATE audit_checkpoints SET note = 'x'", "UPDATE audit_subject_keys SET wrapped = 'x'"} {
		_, err := conn.Exec(t.Context(), statement)
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42501" {
			t.Errorf("%s: %v; want insufficient_privilege", statement, err)
		}
	}
	if out, err := s.postern(t, "postern_audit_writer", "audit", "search"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a writer searches: %v\n%s", err, out)
	}
}
