package rows

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
)

// table has the new rows of one table.
type table struct {
	name    string
	columns []string
	rows    [][]any
}

func newTable(name string, columns ...string) *table { return &table{name: name, columns: columns} }

func (t *table) add(values ...any) { t.rows = append(t.rows, values) }

// now is the time of a checkpoint's row.
func now() time.Time { return time.Now().UTC() }

// columns are those of audit_logs. Beside the record they are only for searching: Row compares them with the record.
func columns() []string {
	return []string{
		"id", "writer", "seq", "prev", "hash", "record", "time", "category", "action", "outcome", "performed_by", "subject", "resource_kind",
		"resource_id", "ip_address", "request_id", "policy", "pod", "retain_days",
	}
}

// row returns the values of the columns.
func (s *Sink) row(r *record.Record, encoded []byte) []any {
	hash := hashchain.HashOf(encoded)
	resource := record.Resource{}
	if r.Resource != nil {
		resource = *r.Resource
	}
	return []any{
		r.ID, r.Writer, int64(r.Seq), r.Prev[:], hash[:], string(encoded), r.Time.Time, string(r.Category), text(r.Action), string(r.Outcome),
		text(r.PerformedBy), text(r.Subject), text(resource.Kind), text(resource.ID), text(r.IPAddress), text(r.RequestID), text(r.Policy), text(r.Pod), s.cfg.RetainDays,
	}
}

// text returns a value of a column. PostgreSQL has no NUL in texts.
func text(s string) string { return strings.ReplaceAll(s, "\x00", "\ufffd") }

// copyInto copies the rows in one transaction.
func copyInto(ctx context.Context, conn *pgx.Conn, tables []table) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range tables {
			if len(t.rows) == 0 {
				continue
			}
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromRows(t.rows)); err != nil {
				return fmt.Errorf("copying into %s: %w", t.name, err)
			}
		}
		return nil
	})
}

// insert inserts the rows that are not there yet, in one transaction. Without a target, ON CONFLICT needs no right but INSERT.
func insert(ctx context.Context, conn *pgx.Conn, tables []table) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range tables {
			statement := "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES (" + placeholders(len(t.columns)) + ") ON CONFLICT DO NOTHING"
			var b pgx.Batch
			for _, row := range t.rows {
				b.Queue(statement, row...)
			}
			if err := tx.SendBatch(ctx, &b).Close(); err != nil {
				return fmt.Errorf("inserting into %s: %w", t.name, err)
			}
		}
		return nil
	})
}

func placeholders(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String()
}
