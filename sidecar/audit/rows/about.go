package rows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Person has the names of a person, with their pseudonyms.
type Person struct {
	// Subjects are those of records about the person, and of records of what the person did to others. Accounts are names that
	// clients gave at logins.
	Subjects, Accounts []string
}

// aboutPage is the number of records that one statement reads.
const aboutPage = 1000

// About calls f with the records that name a person, in the order of their time, and with nil for a row that is no record: somebody who may
// only add rows must not be able to keep a person's records from them. Accounts have no column, so that all records are searched
// for them. It reads in short statements, because a long one would hold up maintenance.
func About(ctx context.Context, conn *pgx.Conn, p Person, f func(*record.Record) error) error {
	condition := "(subject = ANY ($1::text[]) OR performed_by = ANY ($1::text[])"
	args := []any{texts(p.Subjects)}
	if len(p.Accounts) > 0 {
		members := make([]string, len(p.Accounts))
		for i, name := range p.Accounts {
			members[i] = accountMember(name)
		}
		condition += " OR EXISTS (SELECT FROM unnest($2::text[]) AS member WHERE strpos(record, member) > 0)"
		args = append(args, members)
	}
	statement, after := "SELECT record, time, writer, seq FROM audit_logs WHERE "+condition+")", ""
	for {
		page, err := aboutRows(ctx, conn, fmt.Sprintf("%s%s ORDER BY time, writer, seq LIMIT %d", statement, after, aboutPage), args)
		if err != nil {
			return err
		}
		for _, row := range page {
			r, err := record.Decode([]byte(row.record))
			if err == nil && !p.named(r) {
				continue // the text is in another field
			}
			if err != nil {
				r = nil
			}
			if err := f(r); err != nil {
				return err
			}
		}
		if len(page) < aboutPage {
			return nil
		}
		last := page[len(page)-1]
		if n := len(args); after == "" {
			after = fmt.Sprintf(" AND (time, writer, seq) > ($%d, $%d, $%d)", n+1, n+2, n+3)
			args = append(args, nil, nil, nil)
		}
		copy(args[len(args)-3:], []any{last.time, last.writer, last.seq})
	}
}

func (p *Person) named(r *record.Record) bool {
	return slices.Contains(p.Subjects, r.Subject) || slices.Contains(p.Subjects, r.PerformedBy) || slices.Contains(p.Accounts, r.Account)
}

// aboutRow is a record with its place in the order.
type aboutRow struct {
	record string
	time   pgtype.Timestamptz
	writer uuid.UUID
	seq    int64
}

func aboutRows(ctx context.Context, conn *pgx.Conn, statement string, args []any) ([]aboutRow, error) {
	result, err := conn.Query(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the records of a person: %w", err)
	}
	found, err := pgx.CollectRows(result, func(row pgx.CollectableRow) (a aboutRow, err error) {
		return a, row.Scan(&a.record, &a.time, &a.writer, &a.seq)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the records of a person: %w", err)
	}
	return found, nil
}

// accountMember returns the member account of a record's JSON, as record.Encode writes it.
func accountMember(name string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(name) // a string has a JSON form
	return `"account":` + string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// texts returns values of columns.
func texts(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = text(v)
	}
	return out
}
