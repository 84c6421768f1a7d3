package rows

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/personal"
)

// Keys returns a function that finds keys of subjects. It reads with conn, and keeps none.
func Keys(ctx context.Context, conn *pgx.Conn) personal.Find {
	return func(id uuid.UUID) (k personal.SubjectKey, ok bool, err error) {
		k.ID = id
		err = conn.QueryRow(ctx, "SELECT subject_hash, wrapped, created FROM audit_subject_keys WHERE key_id = $1", id).Scan(&k.Subject, &k.Wrapped, &k.Created)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return k, false, nil
		case err != nil:
			return k, false, fmt.Errorf("reading the key of a subject: %w", err)
		}
		return k, true, nil
	}
}

// Erasure says whose keys are erased, and why.
type Erasure struct {
	// Subject is personal.Keys.SubjectHash of the subject.
	Subject []byte
	// PerformedBy is who asked for it. Both texts stay in the database.
	PerformedBy, Reason string
}

// ErrHeld says that a legal hold forbids the erasure.
var ErrHeld = errors.New("a legal hold covers the subject: release it first (postern audit hold)")

// Erase deletes the keys of a subject, so that the fields that they encrypt can no longer be read. Keys that are still on their way are
// refused later by the database. It returns the number of keys.
func Erase(ctx context.Context, conn *pgx.Conn, e Erasure) (erased int64, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var held bool
		const holds = "SELECT EXISTS (SELECT FROM audit_holds WHERE released IS NULL AND (subject_hash IS NULL OR subject_hash = $1))"
		if err := tx.QueryRow(ctx, holds, e.Subject).Scan(&held); err != nil {
			return err
		}
		if held {
			return ErrHeld
		}
		const note = "INSERT INTO audit_erasures (subject_hash, performed_by, reason, time) VALUES ($1, $2, $3, now())"
		if _, err := tx.Exec(ctx, note, e.Subject, e.PerformedBy, e.Reason); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, "DELETE FROM audit_subject_keys WHERE subject_hash = $1", e.Subject)
		erased = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("erasing the keys of a subject: %w", err)
	}
	return erased, nil
}
