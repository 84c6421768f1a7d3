// Package retention maintains the partitions of the audit trail: it makes those of the coming months, moves rows to them, and drops a
// month as a whole when all of its rows are older than their retention. What it drops it records in audit_pruned, so that the
// records after it can still be verified. A legal hold keeps a month.
package retention

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
)

// Defaults and bounds.
const (
	DefaultAhead       = 3
	DefaultLockTimeout = 5 * time.Second

	// maxRetentions bounds the partitions of the first level, and maxRetention their days: a writer chooses the number of its rows.
	maxRetentions = 64
	maxRetention  = 100 * 365
	// maxMonths bounds the months of one retention that one run makes, because a writer also chooses the time of its rows.
	maxMonths = 120
)

// lockID is the advisory lock of a run.
const lockID int64 = 0x706f7374_02

// ErrBusy reports that another run is in progress.
var ErrBusy = errors.New("the audit trail is being maintained by another process")

// Config configures Maintain. Pruner is required.
type Config struct {
	Pruner Pruner
	// HashSubject returns the hash by which audit_holds names a subject of audit_logs. Without it, a hold of a subject keeps every month
	// of its time.
	HashSubject func(subject string) []byte
	// Retentions are days that get partitions before they have rows. Others get them when they have rows, up to a bound.
	Retentions []int
	// Force are names of partitions that are dropped although their records do not follow each other (ErrBroken).
	Force []string
	// Ahead is the number of months after the present one that have partitions. It defaults to DefaultAhead.
	Ahead int
	// LockTimeout bounds the wait for a table, while which writers wait as well. It defaults to DefaultLockTimeout.
	LockTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Pruner computes what must be kept of records that are dropped.
type Pruner interface {
	// Prune returns the cut after rows. They are the records of one writer after previous, in the order of their numbers; previous
	// is the latest cut of the writer, or has the size 0. An error keeps the records.
	Prune(previous Cut, rows iter.Seq2[Row, error]) (Cut, error)
}

// Row is a record that is dropped.
type Row struct {
	Seq        int64
	Prev, Hash []byte
	// Changed says that the content of the record does not have the hash.
	Changed bool
}

// Cut is a row of audit_pruned.
type Cut struct {
	// Size is the number of the last record that was dropped.
	Size int64
	// LastHash is its hash. Nodes are the hashes of the Merkle tree that are needed to continue it.
	LastHash, Nodes []byte
	// Note says why there are no nodes.
	Note string
	// Checkpoint is the signed checkpoint that shows that the records could be dropped; empty if no checkpoint covers them.
	Checkpoint string
}

// Result is what a run did.
type Result struct {
	// Made, Dropped, Held and Waiting are names of partitions. Those in Held would have been dropped without a legal hold, and those in
	// Waiting if the retention that signed checkpoints state had passed.
	Made, Dropped, Held, Waiting []string
	// Moved is the number of rows that were moved out of default partitions.
	Moved int64
	// Keys is the number of subject keys that were deleted, because they are older than every record.
	Keys int64
}

// maintainer is one run.
type maintainer struct {
	Config
	conn   *pgx.Conn
	now    time.Time
	result Result
}

// Maintain makes partitions for every retention that has rows, and drops the months that have ended. It works in several short
// transactions, each under an advisory lock, and may be run at any time and by several processes; those that find another one at
// work return ErrBusy. The user of conn is a member of auditsql.Owner. A retention of 0 days means for ever. A month that cannot be dropped is
// an error, and does not prevent that others are.
func Maintain(ctx context.Context, conn *pgx.Conn, now time.Time, c Config) (Result, error) {
	if c.Ahead == 0 {
		c.Ahead = DefaultAhead
	}
	if c.LockTimeout == 0 {
		c.LockTimeout = DefaultLockTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Pruner == nil || c.Ahead < 0 || c.Ahead > 24 || c.LockTimeout < time.Millisecond {
		return Result{}, errors.New("maintaining the audit trail: a pruner, 1 to 24 months and a lock timeout are required")
	}
	if slices.ContainsFunc(c.Retentions, func(days int) bool { return days < 0 || days > maxRetention }) {
		return Result{}, fmt.Errorf("maintaining the audit trail: a retention is not 0 to %d days", maxRetention)
	}
	m := &maintainer{Config: c, conn: conn, now: now.UTC()}
	if err := m.run(ctx); err != nil {
		return m.result, fmt.Errorf("maintaining the audit trail: %w", err)
	}
	return m.result, nil
}

func (m *maintainer) run(ctx context.Context) error {
	if err := m.makeRetentions(ctx); err != nil {
		return err
	}
	retentions, err := m.retentions(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, r := range retentions {
		if err := m.makeMonths(ctx, r); err != nil {
			return err
		}
		if r.days == 0 {
			continue
		}
		if err := m.dropMonths(ctx, r); errors.Is(err, ErrBusy) {
			return err
		} else if err != nil {
			failures = append(failures, err)
		}
	}
	if err := m.deleteKeys(ctx); err != nil {
		return err
	}
	return errors.Join(failures...)
}

// deleteKeys deletes the subject keys that are older than every record: nothing is encrypted with them any more, and they name
// subjects. A key is used for an hour; the margin is for clocks that differ.
func (m *maintainer) deleteKeys(ctx context.Context) error {
	err := m.within(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM audit_subject_keys WHERE created < (SELECT min(time) FROM audit_logs WHERE time >= '0001-01-01')
			- interval '1 day'`)
		m.result.Keys = tag.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting subject keys: %w", err)
	}
	return nil
}

// within runs f in a transaction as the owner, under the lock of the run.
func (m *maintainer) within(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, m.conn, pgx.TxOptions{}, func(tx pgx.Tx) error {
		for _, setting := range []string{
			"SET LOCAL ROLE " + auditsql.Owner, "SET LOCAL search_path = public, pg_temp", "SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO'",
			fmt.Sprintf("SET LOCAL lock_timeout = %d", m.LockTimeout.Milliseconds()),
		} {
			if _, err := tx.Exec(ctx, setting); err != nil {
				return fmt.Errorf("preparing a transaction: %w", err)
			}
		}
		var ours bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", lockID).Scan(&ours); err != nil {
			return fmt.Errorf("taking the lock: %w", err)
		}
		if !ours {
			return ErrBusy
		}
		return f(tx)
	})
}
