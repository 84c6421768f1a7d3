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
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
)

// Row is a row that was read: a record or a checkpoint, or the records of a writer that were removed.
type Row struct {
	spool.Item
	// Cut says which records were removed; nil for a record or a checkpoint.
	Cut *hashchain.Cut
	// Hash is the hash that is stored with a record.
	Hash record.Hash
	// Writer and Seq are the columns of a record.
	Writer uuid.UUID
	Seq    uint64
	// Altered names a column of a record that does not have the value of the record; empty for none.
	Altered string
}

// Verify gives what was read to a verifier.
func (r Row) Verify(v *verify.Verifier) {
	switch {
	case r.Cut != nil:
		v.Cut(*r.Cut)
	case r.Kind == spool.Checkpoint:
		v.Checkpoint(r.Payload)
	default:
		if r.Altered != "" {
			v.Altered(r.Writer, r.Seq, r.Altered)
		}
		v.Record(r.Payload, r.Hash)
	}
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

// stored are the columns of a record.
type stored struct {
	writer                 uuid.UUID
	seq                    int64
	payload                string
	hash, prev             []byte
	id                     uuid.UUID
	time                   pgtype.Timestamptz
	retain                 int
	category, action       *string
	outcome, performedBy   *string
	subject                *string
	resourceKind, resource *string
	ipAddress, requestID   *string
	policy, pod            *string
}

// storedColumns are the columns of stored.
const storedColumns = `writer, seq, record, hash, prev, id, time, retain_days, category, action, outcome, performed_by, subject, resource_kind, resource_id,
	ip_address, request_id, policy, pod`

// page returns the records of one statement.
func page(ctx context.Context, conn *pgx.Conn, statement string, args ...any) ([]stored, error) {
	found, err := read(ctx, conn, func(row pgx.CollectableRow) (s stored, err error) {
		return s, row.Scan(&s.writer, &s.seq, &s.payload, &s.hash, &s.prev, &s.id, &s.time, &s.retain, &s.category, &s.action, &s.outcome, &s.performedBy, &s.subject,
			&s.resourceKind, &s.resource, &s.ipAddress, &s.requestID, &s.policy, &s.pod)
	}, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	return found, nil
}

// row returns what was read.
func (s *stored) row() Row {
	row := Row{Item: spool.Item{Kind: spool.Record, Payload: []byte(s.payload)}, Writer: s.writer, Seq: uint64(s.seq), Altered: s.altered()}
	copy(row.Hash[:], s.hash)
	return row
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
	case s.id != r.ID:
		return "id"
	case s.writer != r.Writer:
		return "writer"
	case uint64(s.seq) != r.Seq:
		return "seq"
	case s.time.InfinityModifier != pgtype.Finite || !s.time.Time.Equal(r.Time.Time):
		return "time"
	case string(s.prev) != string(r.Prev[:]):
		return "prev"
	}
	return ""
}
