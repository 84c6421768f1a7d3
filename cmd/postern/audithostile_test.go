package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestAuditHostileRows: somebody who may only add rows can neither hide the others from a search nor command a terminal or a spreadsheet.
func TestAuditHostileRows(t *testing.T) {
	server, address, password := auditServer(t)
	t.Setenv("PGPASSWORD", password)
	if _, _, err := run(t, "", "audit", "migrate", "--database-url", address); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn := server.Connect(t, strings.TrimPrefix(u.Path, "/"))
	const obeyed = "\x1b[2J\u009b2J\u202e\U000e0001\n"
	seq := uint64(0)
	add := func(change func(*record.Record) string) {
		seq++
		r := &record.Record{
			Version: 1, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: seq, Category: record.Authentication, Action: "login", Outcome: event.Success, Policy: "shop/orders", Subject: fmt.Sprint("user", seq),
		}
		text := change(r)
		if text == "" {
			encoded, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			text = string(encoded)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days) VALUES ($1, $2, $3, sha256('x'), $4, now(), 30)", r.ID, r.Writer, int64(seq), text); err != nil {
			t.Fatal(err)
		}
	}
	key := uuid.Must(uuid.NewV7())
	if _, err := conn.Exec(t.Context(), "INSERT INTO audit_subject_keys VALUES ($1, sha256('x'), 'nonsense', now())", key); err != nil {
		t.Fatal(err)
	}
	add(func(*record.Record) string { return "no record" })
	add(func(*record.Record) string { return `{"version":9}` })
	add(func(r *record.Record) string {
		r.Encrypted = &record.Encrypted{Key: key, Fields: map[string][]byte{"changes": []byte("x")}}
		return ""
	})
	add(func(r *record.Record) string {
		r.Policy, r.Action, r.Outcome, r.Pod, r.UserAgent, r.Subject = obeyed, obeyed, obeyed, obeyed, "＝1", obeyed
		r.Changes = event.Changes{obeyed: {After: []byte(`"` + strings.Trim(obeyed, "\x1b\n") + `"`)}}
		return ""
	})
	add(func(*record.Record) string { return "" })
	masterKeyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(masterKeyFile, []byte(masterKey), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"text", "jsonl", "csv"} {
		out, stderr, err := run(t, "", "audit", "search", "--database-url", address, "--key-file", masterKeyFile, "-o", form)
		if err != nil || !strings.Contains(out, "user3") || !strings.Contains(out, "user5") || strings.Count(stderr, "note: ") != 3 {
			t.Errorf("%s: %q, %q, %v", form, out, stderr, err)
		}
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: %q", form, out[i:])
		}
		if form == "csv" && !strings.Contains(out, "'＝1") {
			t.Errorf("a formula: %q", out)
		}
	}
}
