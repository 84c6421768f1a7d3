package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

const masterKey = "0123456789abcdef0123456789abcdef"

// auditLog writes a key file and the log of a sidecar with a trail of ten records, and returns their names.
func auditLog(t *testing.T) (key, log string) {
	t.Helper()
	keys, err := personal.Derive(secret.New([]byte(masterKey)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := hashchain.NewSigner(keys.Signing())
	if err != nil {
		t.Fatal(err)
	}
	chain := hashchain.New(uuid.Must(uuid.NewV7()))
	items := []spool.Item{}
	for i := range 10 {
		r := &record.Record{
			Version: 1, ID: uuid.Must(uuid.NewV7()), Time: record.At(time.Date(2026, 11, 29, 8, i, 0, 0, time.UTC)), Category: record.Authentication, Action: "login", Outcome: event.Success,
			Subject: "ada", IPAddress: "192.0.2.1", UserAgent: "=cmd|'/C calc'!A0", Policy: "shop/orders", Pod: "orders-1",
		}
		if i == 7 {
			r.Action, r.Subject, r.Reason, r.Outcome = "login_failed", "eve\x1b[2J", "wrong password", event.Refused
		}
		encoded, _, err := chain.Append(r)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Record, Payload: encoded})
	}
	signed, err := chain.Checkpoint("shop/orders").Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("{\"level\":\"INFO\",\"msg\":\"listening\"}\nplain text\n")
	if _, err := logsink.New(&b, time.Now).Deliver(t.Context(), append(items, spool.Item{Kind: spool.Checkpoint, Payload: signed})); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, log = filepath.Join(dir, "key"), filepath.Join(dir, "log")
	for name, content := range map[string][]byte{key: []byte(masterKey), log: b.Bytes()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, log
}

// TestAuditVerify checks the log of a sidecar, with what else is in it.
func TestAuditVerify(t *testing.T) {
	key, log := auditLog(t)
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := run(t, "", "audit", "public-key", "--key-file", key)
	if err != nil || !strings.HasPrefix(public, "postern.dev/audit+") {
		t.Fatalf("%q, %v", public, err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte(strings.Repeat("x", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	tests := map[string]struct {
		content string
		args    []string
		want    string
		wantErr bool
	}{
		"intact":             {string(content), []string{"--public-key", strings.TrimSpace(public)}, "10 records of 1 writers from 2026-11-29T08:00:00Z to 2026-11-29T08:09:00Z, 1 checkpoints: no fault found\n", false},
		"by the master key":  {string(content), []string{"--key-file", key}, "no fault found", false},
		"by another key":     {string(content), []string{"--key-file", other}, "it is signed with " + strings.Join(strings.Split(public, "+")[:2], "+") + ", and not with a key that was given\n", true},
		"without a key":      {string(content), nil, "the signatures were not checked", false},
		"edited":             {strings.Replace(string(content), `"subject":"ada"`, `"subject":"bob"`, 1), []string{"--key-file", key}, "changed: record 1 ", true},
		"a line is missing":  {strings.Replace(string(content), lines[5], "", 1), []string{"--key-file", key}, "missing: record 4 of writer ", true},
		"cut":                {strings.Join(append(lines[:9:9], lines[len(lines)-2]), ""), []string{"--key-file", key}, "truncated: records 8 to 10 of writer ", true},
		"as JSON":            {strings.Replace(string(content), `"subject":"ada"`, `"subject":"bob"`, 1), []string{"--key-file", key, "-o", "json"}, `{"kind":"changed","writer":"`, true},
		"nothing to verify":  {"plain text\n", []string{"--key-file", key}, "", true},
		"another public key": {string(content), []string{"--public-key", "postern.dev/audit+00000000+AAAA"}, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, tt.content, append([]string{"audit", "verify", "-f", "-"}, tt.args...)...)
			if (err != nil) != tt.wantErr || !strings.Contains(out, tt.want) {
				t.Errorf("%q, %v; want %q", out, err, tt.want)
			}
		})
	}
}

// TestAuditSearch selects records, and shows nothing that a terminal or a spreadsheet would obey.
func TestAuditSearch(t *testing.T) {
	_, log := auditLog(t)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a failed login": {[]string{"search", "--action", "login_failed"}, `2026-11-29T08:07:00Z shop/orders login_failed refused reason="wrong password" subject="eve\x1b[2J" address=192.0.2.1` + "\n"},
		"the latest two": {[]string{"search", "--limit", "2", "--subject", "ada"}, "2026-11-29T08:08:00Z shop/orders login success subject=ada address=192.0.2.1\n2026-11-29T08:09:00Z shop/orders login success subject=ada address=192.0.2.1\n"},
		"a time":         {[]string{"search", "--since", "2026-11-29T08:03:00Z", "--until", "2026-11-29 08:04:00"}, "2026-11-29T08:03:00Z shop/orders login success subject=ada address=192.0.2.1\n"},
		"none":           {[]string{"search", "--policy", "shop/other"}, ""},
	} {
		out, stderr, err := run(t, "", append([]string{"audit"}, append(tt.args, "-f", log)...)...)
		if err != nil || out != tt.want {
			t.Errorf("%s: %q, %v %s; want %q", name, out, err, stderr, tt.want)
		}
	}
	out, _, err := run(t, "", "audit", "search", "-f", log, "-o", "csv", "--limit", "1")
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 3 || !strings.Contains(lines[1], "'=cmd|") {
		t.Errorf("%q, %v", out, err)
	}
	for _, args := range [][]string{
		{"search", "--since", "yesterday"}, {"search", "-o", "xml"}, {"search", "--outcome", "denied"}, {"export", "--policy", "orders"}, {"tail"}, {"tail", "-o", "csv"}, {"verify", "-o", "xml"},
	} {
		if _, _, err := run(t, "", append(append([]string{"audit"}, args...), "-f", log)...); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// TestAuditExport: the export of a whole trail verifies, as its origin does.
func TestAuditExport(t *testing.T) {
	key, log := auditLog(t)
	exported, _, err := run(t, "", "audit", "export", "-f", log)
	if err != nil || strings.Count(exported, "\n") != 11 {
		t.Fatalf("%q, %v", exported, err)
	}
	out, _, err := run(t, exported, "audit", "verify", "-f", "-", "--key-file", key)
	if err != nil || !strings.Contains(out, "10 records of 1 writers") || !strings.Contains(out, "no fault found") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestRecordLine: a line names what is encrypted, and has no id that is not known.
func TestRecordLine(t *testing.T) {
	r := &record.Record{
		Time: record.At(time.Unix(1_800_000_000, 0)), Policy: "shop/users", Action: "CREATE", Outcome: event.Success, Resource: &record.Resource{Kind: "user"}, Count: 3,
		Encrypted: &record.Encrypted{Fields: map[string][]byte{"user_agent": nil, "changes": nil}},
	}
	if got, want := recordLine(r), "2027-01-15T08:00:00Z shop/users CREATE success resource=user count=3 encrypted=changes,user_agent"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

// TestLogsThatAreNotWhole: what verify says of a log that was cut at its end, and of one whose beginning was rotated away.
func TestLogsThatAreNotWhole(t *testing.T) {
	key, log := auditLog(t)
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	for name, tt := range map[string]struct {
		content   string
		args      []string
		out, note string
		wantErr   bool
	}{
		"cut in the last checkpoint": {content: string(content[:len(content)-20]), out: "10 records are after the last checkpoint of their writer\n", note: "the last line is incomplete"},
		"rotated":                    {content: strings.Join(lines[5:], ""), out: "missing: records 1 to 3 of writer ", wantErr: true},
		"rotated, as a part":         {content: strings.Join(lines[5:], ""), args: []string{"--partial"}, out: "no fault found\n3 records before the first ones were not checked\n"},
		"an edited part":             {content: strings.Replace(strings.Join(lines[5:], ""), "ada", "bob", 1), args: []string{"--partial"}, out: "changed: record 4 ", wantErr: true},
		"another log's checkpoints":  {content: string(content), args: []string{"--checkpoints", log}, out: "no fault found"},
		"no such checkpoints":        {content: string(content), args: []string{"--checkpoints", log + "x"}, wantErr: true},
	} {
		out, stderr, err := run(t, tt.content, append([]string{"audit", "verify", "-f", "-", "--key-file", key}, tt.args...)...)
		if (err != nil) != tt.wantErr || !strings.Contains(out, tt.out) || !strings.Contains(stderr, tt.note) {
			t.Errorf("%s: %q, %q, %v; want %q", name, out, stderr, err, tt.out)
		}
	}
}
