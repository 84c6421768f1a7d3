package retention

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// hold is a legal hold. subject is nil if it is for every subject.
type hold struct {
	id      string
	subject []byte
}

// holds returns the holds that are not released and whose time has a part of a month, in the order of their ids.
func holds(ctx context.Context, tx pgx.Tx, of month) ([]hold, error) {
	rows, err := tx.Query(ctx, `SELECT id::text, subject_hash FROM audit_holds WHERE released IS NULL
		AND (from_time IS NULL OR from_time < $2) AND (to_time IS NULL OR to_time >= $1) ORDER BY id`, of.start, of.end)
	if err != nil {
		return nil, fmt.Errorf("reading legal holds: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h hold, err error) { return h, row.Scan(&h.id, &h.subject) })
	if err != nil {
		return nil, fmt.Errorf("reading legal holds: %w", err)
	}
	return found, nil
}

func sameHolds(a, b []hold) bool {
	return slices.EqualFunc(a, b, func(a, b hold) bool { return a.id == b.id && bytes.Equal(a.subject, b.subject) })
}

// held returns the id of a hold that keeps a month; empty if none does. A hold of a subject keeps it if the subject has a row in it, or
// if subjects cannot be compared.
func (m *maintainer) held(ctx context.Context, tx pgx.Tx, of month, present []hold) (id string, err error) {
	for _, h := range present {
		if h.subject == nil || m.HashSubject == nil {
			return h.id, nil
		}
	}
	if len(present) == 0 {
		return "", nil
	}
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT DISTINCT subject FROM %s WHERE subject IS NOT NULL", quote(of.name)))
	if err != nil {
		return "", fmt.Errorf("reading subjects: %w", err)
	}
	var subject string
	_, err = pgx.ForEachRow(rows, []any{&subject}, func() error {
		hash := m.HashSubject(subject)
		if i := slices.IndexFunc(present, func(h hold) bool { return bytes.Equal(h.subject, hash) }); i >= 0 && id == "" {
			id = present[i].id
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading subjects: %w", err)
	}
	return id, nil
}
