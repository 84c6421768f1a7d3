package rows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Row is a row that was read: a record or a checkpoint.
type Row struct {
	spool.Item
	// Hash is the hash that is stored with a record.
	Hash record.Hash
	// Writer and Seq are the columns of a record.
	Writer uuid.UUID
	Seq    uint64
	// Altered names a column of a record that does not have the value of the record; empty for none.
	Altered string
}

// Filter selects records. Empty fields select all.
type Filter struct {
	// Subjects selects the records that are about one of the subjects or performed by one. A pseudonym is a subject of its own.
	Subjects []string
	// Accounts selects in addition the attempts to log in with one of these names. There is no index of accounts, so give a time.
	Accounts                []string
	Action, Policy, Outcome string
	// From is inclusive, To is exclusive.
	From, To time.Time
}

// where returns the condition of the filter, and its arguments.
func (f Filter) where() (condition string, args []any) {
	var all []string
	add := func(format string, value any) {
		args = append(args, value)
		all = append(all, strings.ReplaceAll(format, "?", fmt.Sprintf("$%d", len(args))))
	}
	switch {
	case len(f.Accounts) > 0:
		args = append(args, f.Subjects, accountMembers(f.Accounts))
		all = append(all, "(subject = ANY ($1::text[]) OR performed_by = ANY ($1::text[]) OR EXISTS (SELECT FROM unnest($2::text[]) AS a WHERE position(a IN record) > 0))")
	case len(f.Subjects) > 0:
		add("(subject = ANY (?::text[]) OR performed_by = ANY (?::text[]))", f.Subjects)
	}
	for column, value := range map[string]string{"action": f.Action, "policy": f.Policy, "outcome": f.Outcome} {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	if !f.From.IsZero() {
		add("time >= ?", f.From)
	}
	if !f.To.IsZero() {
		add("time < ?", f.To)
	}
	if len(all) == 0 {
		return "true", nil
	}
	return strings.Join(all, " AND "), args
}

// accountMembers returns the member "account" of a record's JSON for each account. They are searched for as texts: a record that somebody
// changed may not be JSON, and a search must not fail because of it.
func accountMembers(accounts []string) (members []string) {
	for _, a := range accounts {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(a) // a string can be encoded
		members = append(members, `"account":`+strings.TrimSpace(b.String()))
	}
	return members
}

// Match reports whether the filter selects a record.
func (f Filter) Match(r *record.Record) bool {
	matches := func(want, got string) bool { return want == "" || want == got }
	return (len(f.Subjects)+len(f.Accounts) == 0 || slices.Contains(f.Subjects, r.Subject) || slices.Contains(f.Subjects, r.PerformedBy) || r.Account != "" && slices.Contains(f.Accounts, r.Account)) &&
		matches(f.Action, r.Action) && matches(f.Policy, r.Policy) && matches(f.Outcome, string(r.Outcome)) &&
		(f.From.IsZero() || !r.Time.Before(f.From)) && (f.To.IsZero() || r.Time.Before(f.To))
}

// Chained calls f with all records and checkpoints, those of each writer in their order. Rows are not kept in memory.
func Chained(ctx context.Context, conn *pgx.Conn, f func(Row) error) error {
	const statement = `SELECT writer, seq, 0 AS kind, record, hash, prev, id, time, category, action, outcome, performed_by, subject, resource_kind, resource_id, ip_address, request_id, policy, pod
FROM audit_logs
UNION ALL
SELECT writer, size, 1, note, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM audit_checkpoints
ORDER BY 1, 2, 3`
	return each(ctx, conn, statement, nil, f)
}

// Latest calls f with the records of the filter in the order of their time, and at most limit of the latest; all if limit is 0.
func Latest(ctx context.Context, conn *pgx.Conn, filter Filter, limit int, f func(Row) error) error {
	condition, args := filter.where()
	statement := `SELECT writer, seq, 0 AS kind, record, hash, prev, id, time, category, action, outcome, performed_by, subject, resource_kind, resource_id, ip_address, request_id, policy, pod
FROM audit_logs WHERE ` + condition
	if limit > 0 {
		args = append(args, limit)
		statement = fmt.Sprintf("SELECT * FROM (%s ORDER BY time DESC, writer DESC, seq DESC LIMIT $%d) AS latest", statement, len(args))
	}
	return each(ctx, conn, statement+" ORDER BY time, writer, seq", args, f)
}

func each(ctx context.Context, conn *pgx.Conn, statement string, args []any, f func(Row) error) error {
	result, err := conn.Query(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("reading the audit trail: %w", err)
	}
	defer result.Close()
	for result.Next() {
		row, err := scan(result)
		if err == nil {
			err = f(row)
		}
		if err != nil {
			return err
		}
	}
	if err := result.Err(); err != nil {
		return fmt.Errorf("reading the audit trail: %w", err)
	}
	return nil
}

// stored are the columns of a row.
type stored struct {
	kind                   int
	writer                 uuid.UUID
	seq                    int64
	payload                string
	hash, prev             []byte
	id                     *uuid.UUID
	time                   *time.Time
	category, action       *string
	outcome, performedBy   *string
	subject                *string
	resourceKind, resource *string
	ipAddress, requestID   *string
	policy, pod            *string
}

func scan(result pgx.Rows) (Row, error) {
	var s stored
	err := result.Scan(&s.writer, &s.seq, &s.kind, &s.payload, &s.hash, &s.prev, &s.id, &s.time, &s.category, &s.action, &s.outcome, &s.performedBy, &s.subject,
		&s.resourceKind, &s.resource, &s.ipAddress, &s.requestID, &s.policy, &s.pod)
	if err != nil {
		return Row{}, fmt.Errorf("reading a row of the audit trail: %w", err)
	}
	row := Row{Item: spool.Item{Kind: spool.Record, Payload: []byte(s.payload)}, Writer: s.writer, Seq: uint64(s.seq)}
	if s.kind == 1 {
		row.Kind = spool.Checkpoint
		return row, nil
	}
	copy(row.Hash[:], s.hash)
	row.Altered = s.altered()
	return row, nil
}

// altered compares the columns with the record. A record that cannot be read has no column to compare with: verification reports it.
func (s *stored) altered() string {
	r, err := record.Decode([]byte(s.payload))
	if err != nil {
		return ""
	}
	resource := record.Resource{}
	if r.Resource != nil {
		resource = *r.Resource
	}
	for _, c := range []struct {
		name string
		got  *string
		want string
	}{
		{"category", s.category, string(r.Category)}, {"action", s.action, r.Action}, {"outcome", s.outcome, string(r.Outcome)}, {"performed_by", s.performedBy, r.PerformedBy},
		{"subject", s.subject, r.Subject}, {"resource_kind", s.resourceKind, resource.Kind}, {"resource_id", s.resource, resource.ID}, {"ip_address", s.ipAddress, r.IPAddress},
		{"request_id", s.requestID, r.RequestID}, {"policy", s.policy, r.Policy}, {"pod", s.pod, r.Pod},
	} {
		if c.got == nil || *c.got != text(c.want) {
			return c.name
		}
	}
	switch {
	case s.id == nil || *s.id != r.ID:
		return "id"
	case s.writer != r.Writer:
		return "writer"
	case uint64(s.seq) != r.Seq:
		return "seq"
	case s.time == nil || !s.time.Equal(r.Time.Time):
		return "time"
	case string(s.prev) != string(r.Prev[:]):
		return "prev"
	}
	return ""
}
