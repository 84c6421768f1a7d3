package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	// Subjects are personal.Keys.SubjectHash of the names of one person. A hold of one of them, or of one of Held, forbids the erasure.
	Subjects, Held [][]byte
	// PerformedBy is who asked for it. Both texts stay in the database.
	PerformedBy, Reason string
}

// ErrHeld says that a legal hold forbids the erasure; the error is a *HeldError.
var ErrHeld = errors.New("a legal hold covers the subject")

// Erase deletes the keys of a person, so that the fields that they encrypt can no longer be read. Keys that are still on their way are
// refused later by the database. It returns the number of keys. It may be repeated.
func Erase(ctx context.Context, conn *pgx.Conn, e Erasure) (erased int64, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, subject := range e.Subjects { // the trigger then waits for keys and holds that are being written
			const note = "INSERT INTO audit_erasures (subject_hash, performed_by, reason, time) VALUES ($1, $2, $3, now())"
			if _, err := tx.Exec(ctx, note, subject, e.PerformedBy, e.Reason); err != nil {
				return err
			}
		}
		held, err := holdsOf(ctx, tx, slices.Concat(e.Subjects, e.Held))
		if err != nil {
			return err
		}
		if len(held) > 0 {
			return &HeldError{Hold: held[0]}
		}
		tag, err := tx.Exec(ctx, "DELETE FROM audit_subject_keys WHERE subject_hash = ANY ($1::bytea[])", e.Subjects)
		erased = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("erasing the keys of a subject: %w", err)
	}
	return erased, nil
}

// CountKeys returns the number of keys that Erase would delete.
func CountKeys(ctx context.Context, conn *pgx.Conn, subjects [][]byte) (n int64, err error) {
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM audit_subject_keys WHERE subject_hash = ANY ($1::bytea[])", subjects).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the keys of a subject: %w", err)
	}
	return n, nil
}
