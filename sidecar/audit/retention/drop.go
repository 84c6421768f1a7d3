package retention

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// attempts is how often a month is tried that changes while it is dropped.
const attempts = 3

// errChanged reports that a month or the holds changed after they were read.
var errChanged = errors.New("the month or the legal holds changed meanwhile")

// dropMonths drops the months of a retention that have ended.
func (m *maintainer) dropMonths(ctx context.Context, r retention) error {
	var present []month
	err := m.within(ctx, func(tx pgx.Tx) (err error) {
		present, err = months(ctx, tx, r)
		return err
	})
	if err != nil {
		return err
	}
	var failures []error
	for _, old := range present {
		if !ended(r, old, m.now) {
			continue
		}
		err := m.dropMonth(ctx, r, old)
		for n := 1; errors.Is(err, errChanged) && n < attempts; n++ {
			err = m.dropMonth(ctx, r, old)
		}
		if errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			m.Logger.Error("partition not dropped", "partition", old.name, "error", err)
			failures = append(failures, fmt.Errorf("dropping partition %s: %w", old.name, err))
		}
	}
	return errors.Join(failures...)
}

// ended reports whether the youngest row that a month could have is older than its retention.
func ended(r retention, old month, now time.Time) bool {
	return old.end.AddDate(0, 0, r.days).Before(now)
}

// dropMonth drops a month. First it reads the month without a lock, because that may take minutes. Then it drops it in one
// transaction with its rows of audit_pruned, if nothing has changed.
func (m *maintainer) dropMonth(ctx context.Context, r retention, old month) error {
	var s summary
	err := m.within(ctx, func(tx pgx.Tx) (err error) {
		s, err = m.summarise(ctx, tx, old)
		return err
	})
	if err != nil {
		return err
	}
	if s.held != "" {
		m.result.Held = append(m.result.Held, old.name)
		m.Logger.Info("partition kept for a legal hold", "partition", old.name, "hold", s.held)
		return nil
	}
	if s.waits != "" {
		m.result.Waiting = append(m.result.Waiting, old.name)
		m.Logger.Info("partition kept until the retention in the signed checkpoints has passed", "partition", old.name, "writer", s.waits)
		return nil
	}
	if err := m.within(ctx, func(tx pgx.Tx) error { return m.drop(ctx, tx, r, old, s) }); err != nil {
		return err
	}
	m.result.Dropped = append(m.result.Dropped, old.name)
	m.Logger.Info("partition dropped", "partition", old.name, "rows", s.rows, "writers", len(s.cuts))
	return nil
}

// summary is what was read of a month.
type summary struct {
	rows  int64
	cuts  []writerCut
	holds []hold
	// held is the id of a hold that keeps the month, and waits a writer with a signed checkpoint that does.
	held, waits string
}

type writerCut struct {
	writer  string
	through time.Time
	Cut
}

func (m *maintainer) summarise(ctx context.Context, tx pgx.Tx, old month) (s summary, err error) {
	if s.holds, err = holds(ctx, tx, old); err != nil {
		return s, err
	}
	if s.held, err = m.held(ctx, tx, old, s.holds); err != nil || s.held != "" {
		return s, err
	}
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+quote(old.name)).Scan(&s.rows); err != nil {
		return s, fmt.Errorf("counting rows: %w", err)
	}
	writers, err := m.writers(ctx, tx, old)
	if err != nil {
		return s, err
	}
	for _, w := range writers {
		cut, err := m.cut(ctx, tx, w, slices.Contains(m.Force, old.name))
		if err != nil {
			return s, fmt.Errorf("writer %s: %w", w.writer, err)
		}
		if cut.Size > 0 {
			due := false
			if cut.Checkpoint, due, err = m.checkpoint(ctx, tx, w); err != nil {
				return s, fmt.Errorf("writer %s: %w", w.writer, err)
			}
			if !due && !slices.Contains(m.Force, old.name) {
				s.waits = w.writer
				return s, nil
			}
		}
		if cut.Size > 0 {
			s.cuts = append(s.cuts, writerCut{writer: w.writer, through: w.through, Cut: cut})
		}
	}
	return s, nil
}

// lastOf is the last record of a writer in a month.
type lastOf struct {
	writer  string
	seq     int64
	through time.Time
}

func (m *maintainer) writers(ctx context.Context, tx pgx.Tx, old month) ([]lastOf, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT writer::text, max(seq), max(time) FROM %s GROUP BY writer ORDER BY writer", quote(old.name)))
	if err != nil {
		return nil, fmt.Errorf("listing writers: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w lastOf, err error) {
		return w, row.Scan(&w.writer, &w.seq, &w.through)
	})
	if err != nil {
		return nil, fmt.Errorf("listing writers: %w", err)
	}
	return found, nil
}

// cut returns the cut after the last record of a writer; of size 0 if an earlier run has dropped records after it. The records before
// it may be in other partitions, which stay: the retention of a writer can change. force accepts records that do not follow each
// other; then there are no nodes.
func (m *maintainer) cut(ctx context.Context, tx pgx.Tx, w lastOf, force bool) (Cut, error) {
	var previous Cut
	var note *string
	err := tx.QueryRow(ctx, "SELECT size, last_hash, nodes, note FROM audit_pruned WHERE writer = $1 ORDER BY size DESC LIMIT 1", w.writer).
		Scan(&previous.Size, &previous.LastHash, &previous.Nodes, &note)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Cut{}, fmt.Errorf("reading the previous cut: %w", err)
	}
	if note != nil {
		previous.Note = *note
	}
	if previous.Size >= w.seq {
		return Cut{}, nil
	}
	next, err := m.Pruner.Prune(previous, records(ctx, tx, w, previous.Size))
	if force && errors.Is(err, ErrBroken) {
		m.Logger.Warn("records that do not follow each other are dropped", "writer", w.writer, "error", err)
		return m.forced(ctx, tx, w, err)
	}
	if err != nil {
		return Cut{}, fmt.Errorf("computing the cut: %w", err)
	}
	if next.Size != w.seq {
		return Cut{}, fmt.Errorf("computing the cut: its size is %d, and the last record is %d", next.Size, w.seq)
	}
	return next, nil
}

// forced returns the cut after records that do not follow each other.
func (m *maintainer) forced(ctx context.Context, tx pgx.Tx, w lastOf, why error) (Cut, error) {
	c := Cut{Size: w.seq, Note: "forced: " + why.Error()}
	err := tx.QueryRow(ctx, "SELECT hash FROM audit_logs WHERE writer = $1 AND seq = $2 LIMIT 1", w.writer, w.seq).Scan(&c.LastHash)
	if err != nil {
		return Cut{}, fmt.Errorf("reading the last record: %w", err)
	}
	return c, nil
}

// records streams the records of a writer after a number, until its last in the month.
func records(ctx context.Context, tx pgx.Tx, w lastOf, after int64) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rows, err := tx.Query(ctx, `SELECT seq, prev, hash, hash <> sha256('\x00'::bytea || convert_to(record, 'UTF8')) FROM audit_logs
			WHERE writer = $1 AND seq > $2 AND seq <= $3 ORDER BY seq`,
			w.writer, after, w.seq)
		if err != nil {
			yield(Row{}, fmt.Errorf("reading records: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var r Row
			if err := rows.Scan(&r.Seq, &r.Prev, &r.Hash, &r.Changed); err != nil {
				yield(Row{}, fmt.Errorf("reading records: %w", err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Row{}, fmt.Errorf("reading records: %w", err))
		}
	}
}

// drop writes the cuts, deletes the checkpoints that nothing is left to compare with, and drops the month. Writers wait meanwhile.
func (m *maintainer) drop(ctx context.Context, tx pgx.Tx, r retention, old month, s summary) error {
	lock := fmt.Sprintf("LOCK TABLE ONLY public.audit_logs, ONLY %s, %s IN ACCESS EXCLUSIVE MODE", quote(r.name), quote(old.name))
	for _, statement := range []string{"LOCK TABLE public.audit_holds IN SHARE MODE", lock} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	var count int64
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+quote(old.name)).Scan(&count); err != nil {
		return err
	}
	now, err := holds(ctx, tx, old)
	if err != nil {
		return err
	}
	if count != s.rows || !sameHolds(now, s.holds) {
		return errChanged
	}
	for _, c := range s.cuts {
		_, err := tx.Exec(ctx, `INSERT INTO audit_pruned (writer, size, last_hash, nodes, through, time, note, checkpoint)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, c.writer, c.Size, c.LastHash, c.Nodes, c.through, m.now, c.Note, c.Checkpoint)
		if err == nil {
			_, err = tx.Exec(ctx, "DELETE FROM audit_checkpoints WHERE writer = $1 AND size < $2", c.writer, c.Size)
		}
		if err != nil {
			return fmt.Errorf("recording the cut of writer %s: %w", c.writer, err)
		}
	}
	_, err = tx.Exec(ctx, "DROP TABLE "+quote(old.name))
	return err
}
