//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// rehash is what a careful person does who changes a record: the hash beside it is that of the new text (RFC 6962, section 2.1).
const rehash = `UPDATE audit_logs SET hash = sha256('\x00'::bytea || convert_to(record, 'UTF8')) WHERE writer = '%[1]s' AND seq = %[2]d`

// testTampering: a superuser changes rows, and postern audit verify names each of them. Nothing else is reported.
func (s *auditedShop) testTampering(t *testing.T) {
	writers := query(t, s.auditDatabase, pgx.RowTo[string], "SELECT writer::text FROM audit_logs GROUP BY writer HAVING count(*) > 60 ORDER BY count(*) DESC LIMIT 2")
	if len(writers) != 2 {
		t.Fatalf("writers with many records: %v", writers)
	}
	one, other := writers[0], writers[1]
	last := s.number(t, "SELECT max(seq) FROM audit_logs WHERE writer = $1", other)
	s.Do(t, s.auditDatabase.name, "CREATE TABLE kept AS SELECT * FROM audit_logs")
	for name, tt := range map[string]struct {
		statements []string
		// want are beginnings of lines.
		want []string
	}{
		"edited": {
			[]string{`UPDATE audit_logs SET record = replace(record, '"success"', '"refused"') WHERE writer = '` + one + `' AND seq = 10`},
			[]string{"changed: record 10 "},
		},
		"edited with its columns and its hash": {
			[]string{`UPDATE audit_logs SET record = replace(record, '"success"', '"refused"'), outcome = 'refused' WHERE writer = '` + one + `' AND seq = 20`,
				fmt.Sprintf(rehash, one, 20)},
			[]string{"changed: record 20 "},
		},
		"column edited": {[]string{"UPDATE audit_logs SET subject = 'nobody' WHERE writer = '" + one + "' AND seq = 25"}, []string{"changed: record 25 "}},
		"deleted":       {[]string{"DELETE FROM audit_logs WHERE writer = '" + one + "' AND seq BETWEEN 30 AND 31"}, []string{"missing: records 30 to 31 "}},
		"swapped": {
			[]string{"UPDATE audit_logs SET seq = 81 - seq WHERE writer = '" + one + "' AND seq IN (40, 41)"},
			[]string{"missing: record 40 ", "changed: record 41 ", "reordered: record 40 "},
		},
		"tail cut": {[]string{fmt.Sprintf("DELETE FROM audit_logs WHERE writer = '%s' AND seq > %d", other, last-3)}, []string{fmt.Sprintf("truncated: records %d to %d of writer %s", last-2, last, other)}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Do(t, s.auditDatabase.name, tt.statements...)
			out, err := s.postern(t, auditReader, "audit", "verify", "--key-file", s.keyFile)
			if err == nil {
				t.Errorf("no fault is found:\n%s", out)
			}
			t.Logf("\n%s", out)
			for _, want := range tt.want {
				if !strings.Contains("\n"+out, "\n"+want) {
					t.Errorf("no line begins with %q:\n%s", want, out)
				}
			}
			s.Do(t, s.auditDatabase.name, "DELETE FROM audit_logs", "INSERT INTO audit_logs SELECT * FROM kept")
		})
	}
	s.verified(t)
}
