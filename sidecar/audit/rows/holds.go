package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Hold is a legal hold: while it is not released, no keys of its subject are erased, and no month of its time is dropped.
type Hold struct {
	ID uuid.UUID
	// Subject is personal.Keys.SubjectHash of the subject; nil for every subject.
	Subject []byte
	// From and To are the times of the records; zero for no bound.
	From, To time.Time
	// Reason and PlacedBy stay in the database.
	Reason, PlacedBy string
	Placed           time.Time
	// Released is zero while the hold applies.
	Released   time.Time
	ReleasedBy string
}

// HeldError says which hold forbids an erasure. It matches ErrHeld.
type HeldError struct{ Hold Hold }

func (e *HeldError) Error() string {
	return fmt.Sprintf("a legal hold covers the subject: %q, placed by %q on %s, id %s; nothing is erased until it is released (postern audit hold release)",
		e.Hold.Reason, e.Hold.PlacedBy, e.Hold.Placed.UTC().Format(time.DateOnly), e.Hold.ID)
}

// Is implements errors.Is.
func (*HeldError) Is(target error) bool { return target == ErrHeld }

// ErrNoHold says that there is no hold with an id that is not released.
var ErrNoHold = errors.New("there is no hold with this id, or it is released")

// PlaceHolds places a hold for each subject, or one for every subject if there is none. It sets the ids.
func PlaceHolds(ctx context.Context, conn *pgx.Conn, h Hold, subjects ...[]byte) (placed []Hold, err error) {
	if len(subjects) == 0 {
		subjects = [][]byte{nil}
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, subject := range subjects {
			one := h
			one.Subject = subject
			const statement = `INSERT INTO audit_holds (subject_hash, from_time, to_time, reason, placed_by) VALUES ($1, $2, $3, $4, $5) RETURNING id, placed`
			if err := tx.QueryRow(ctx, statement, subject, optional(h.From), optional(h.To), h.Reason, h.PlacedBy).Scan(&one.ID, &one.Placed); err != nil {
				return err
			}
			placed = append(placed, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("placing a legal hold: %w", err)
	}
	return placed, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ReleaseHold releases a hold. The error is ErrNoHold if there is none.
func ReleaseHold(ctx context.Context, conn *pgx.Conn, id uuid.UUID, by string) error {
	tag, err := conn.Exec(ctx, "UPDATE audit_holds SET released = now(), released_by = $2 WHERE id = $1 AND released IS NULL", id, by)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNoHold
	}
	if err != nil {
		return fmt.Errorf("releasing the legal hold %s: %w", id, err)
	}
	return nil
}

// Holds returns the holds, the oldest first; with released also those that are released.
func Holds(ctx context.Context, conn *pgx.Conn, released bool) ([]Hold, error) {
	return holds(ctx, conn, "$1 OR released IS NULL", released)
}

// HoldsOf returns the holds that apply and cover one of the subjects, the oldest first.
func HoldsOf(ctx context.Context, conn *pgx.Conn, subjects [][]byte) ([]Hold, error) {
	return holdsOf(ctx, conn, subjects)
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error)
}

func holdsOf(ctx context.Context, q querier, subjects [][]byte) ([]Hold, error) {
	return holds(ctx, q, "released IS NULL AND (subject_hash IS NULL OR subject_hash = ANY ($1::bytea[]))", subjects)
}

func holds(ctx context.Context, q querier, condition string, arg any) ([]Hold, error) {
	result, err := q.Query(ctx, `SELECT id, subject_hash, from_time, to_time, reason, placed_by, placed, released, coalesce(released_by, '')
FROM audit_holds WHERE `+condition+" ORDER BY placed, id", arg)
	if err != nil {
		return nil, fmt.Errorf("reading legal holds: %w", err)
	}
	found, err := pgx.CollectRows(result, func(row pgx.CollectableRow) (h Hold, err error) {
		var from, to, released *time.Time
		err = row.Scan(&h.ID, &h.Subject, &from, &to, &h.Reason, &h.PlacedBy, &h.Placed, &released, &h.ReleasedBy)
		for _, t := range []struct {
			to   *time.Time
			from *time.Time
		}{{&h.From, from}, {&h.To, to}, {&h.Released, released}} {
			if t.from != nil {
				*t.to = *t.from
			}
		}
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading legal holds: %w", err)
	}
	return found, nil
}
