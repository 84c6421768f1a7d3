package retention

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// makeRetentions makes a partition for every retention that is configured or has rows in the default partition, and moves them to it.
func (m *maintainer) makeRetentions(ctx context.Context) error {
	var missing []int
	err := m.within(ctx, func(tx pgx.Tx) error {
		existing, err := partitions(ctx, tx, "audit_logs")
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT DISTINCT retain_days FROM audit_logs_default WHERE retain_days BETWEEN 0 AND $1
			ORDER BY 1 LIMIT $2`, maxRetention, max(0, maxRetentions-len(existing)))
		if err != nil {
			return err
		}
		if missing, err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
			return err
		}
		missing = append(missing, m.Retentions...)
		slices.Sort(missing)
		missing = slices.DeleteFunc(slices.Compact(missing), func(days int) bool {
			for _, bound := range existing {
				if other, ok := parseDays(bound); ok && other == days {
					return true
				}
			}
			return false
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking for retentions: %w", err)
	}
	for _, days := range missing {
		r := retention{name: nameOf(days), days: days}
		if err := m.within(ctx, func(tx pgx.Tx) error { return m.makeRetention(ctx, tx, r) }); err != nil {
			return fmt.Errorf("making partition %s: %w", r.name, err)
		}
		m.made(r.name)
	}
	return nil
}

func nameOf(days int) string { return fmt.Sprintf("audit_logs_%dd", days) }

func (m *maintainer) makeRetention(ctx context.Context, tx pgx.Tx, r retention) error {
	return m.attach(ctx, tx, attachment{
		parent: "audit_logs", from: "audit_logs_default", name: r.name,
		layout: "PARTITION BY RANGE (time)",
		more:   fmt.Sprintf("CREATE TABLE %s PARTITION OF %s DEFAULT", quote(r.name+"_default"), quote(r.name)),
		where:  fmt.Sprintf("retain_days = %d", r.days),
		bound:  fmt.Sprintf("IN (%d)", r.days),
	})
}

// makeMonths makes the partitions of the present and the coming months, and of the months that have rows in the default partition.
func (m *maintainer) makeMonths(ctx context.Context, r retention) error {
	var missing []month
	err := m.within(ctx, func(tx pgx.Tx) (err error) {
		missing, err = m.missingMonths(ctx, tx, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for months of %s: %w", r.name, err)
	}
	for _, next := range missing {
		if err := m.within(ctx, func(tx pgx.Tx) error { return m.makeMonth(ctx, tx, r, next) }); err != nil {
			return fmt.Errorf("making partition %s: %w", next.name, err)
		}
		m.made(next.name)
	}
	return nil
}

// missingMonths returns months without a partition. Rows of later months stay where they are until their time is near: the clock of
// their writer may be wrong.
func (m *maintainer) missingMonths(ctx context.Context, tx pgx.Tx, r retention) (missing []month, err error) {
	existing, err := months(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	present := monthOf(r, m.now)
	var wanted []month
	for i := range m.Ahead + 1 {
		wanted = append(wanted, monthOf(r, present.start.AddDate(0, i, 0)))
	}
	horizon := wanted[len(wanted)-1].end
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT DISTINCT date_trunc('month', time, 'UTC') FROM %s
		WHERE time >= $1 AND time < $2 ORDER BY 1 LIMIT $3`, quote(r.name+"_default")),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), horizon, maxMonths)
	if err != nil {
		return nil, err
	}
	used, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, err
	}
	for _, start := range used {
		wanted = append(wanted, monthOf(r, start.UTC()))
	}
	slices.SortFunc(wanted, func(a, b month) int { return a.start.Compare(b.start) })
	for _, w := range slices.Compact(wanted) {
		if !slices.ContainsFunc(existing, func(e month) bool { return e.covers(w) }) {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

func (m *maintainer) makeMonth(ctx context.Context, tx pgx.Tx, r retention, next month) error {
	start, end := next.start.Format(boundTime), next.end.Format(boundTime)
	return m.attach(ctx, tx, attachment{
		parent: r.name, from: r.name + "_default", name: next.name,
		where: fmt.Sprintf("time >= '%s' AND time < '%s'", start, end),
		bound: fmt.Sprintf("FROM ('%s') TO ('%s')", start, end),
	})
}

// attachment is a new partition. All parts are made of numbers, times and names of this package.
type attachment struct {
	// parent gets the partition name. layout is how name itself is partitioned, and more is a statement after it.
	parent, name, layout, more string
	// from is the default partition. where are the conditions of the rows that are moved, and bound is the partition's bound.
	from, where, bound string
}

// attach makes a table, moves rows to it, and makes it a partition. Writers wait meanwhile: PostgreSQL refuses a partition while the
// default one has rows for it.
func (m *maintainer) attach(ctx context.Context, tx pgx.Tx, a attachment) error {
	create := fmt.Sprintf("CREATE TABLE %s (LIKE public.audit_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS) %s", quote(a.name), a.layout)
	if _, err := tx.Exec(ctx, create); err != nil {
		return err
	}
	if a.more != "" {
		if _, err := tx.Exec(ctx, a.more); err != nil {
			return err
		}
	}
	// Writers must wait for the parent. One that waits for the default partition has chosen it already, and would fail when the wait
	// ends, because the row now belongs to the new one. Readers do not wait for the parent.
	if _, err := tx.Exec(ctx, fmt.Sprintf("LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE", quote(a.parent))); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", quote(a.from))); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT * FROM %s WHERE %s", quote(a.name), quote(a.from), a.where))
	if err != nil {
		return err
	}
	if tag.RowsAffected() > 0 {
		if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s", quote(a.from), a.where)); err != nil {
			return err
		}
	}
	if _, err = tx.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES %s", quote(a.parent), quote(a.name), a.bound)); err != nil {
		return err
	}
	m.result.Moved += tag.RowsAffected()
	return nil
}

func (m *maintainer) made(name string) {
	m.result.Made = append(m.result.Made, name)
	m.Logger.Info("partition made", "partition", name)
}
