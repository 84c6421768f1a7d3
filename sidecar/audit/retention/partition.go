package retention

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// retention is a partition of the first level.
type retention struct {
	name string
	days int
}

// month is a partition of the second level.
type month struct {
	name       string
	start, end time.Time
}

// covers reports whether all of other is in m.
func (m month) covers(other month) bool {
	return !m.start.After(other.start) && !m.end.Before(other.end)
}

// monthOf returns the month of t for a retention.
func monthOf(r retention, t time.Time) month {
	start := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return month{name: fmt.Sprintf("%s_%04d_%02d", r.name, start.Year(), start.Month()), start: start, end: start.AddDate(0, 1, 0)}
}

// partitions returns the partitions of a table with their bounds, as PostgreSQL prints them.
func partitions(ctx context.Context, tx pgx.Tx, table string) (bounds map[string]string, err error) {
	rows, err := tx.Query(ctx, `SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass($1) AND c.relnamespace = 'public'::regnamespace`, "public."+table)
	if err != nil {
		return nil, fmt.Errorf("listing partitions of %s: %w", table, err)
	}
	bounds = map[string]string{}
	var name, bound string
	_, err = pgx.ForEachRow(rows, []any{&name, &bound}, func() error { bounds[name] = bound; return nil })
	if err != nil {
		return nil, fmt.Errorf("listing partitions of %s: %w", table, err)
	}
	return bounds, nil
}

var (
	listBound  = regexp.MustCompile(`^FOR VALUES IN \('?(\d{1,9})'?\)$`)
	rangeBound = regexp.MustCompile(`^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$`)
)

// boundTime is how PostgreSQL prints a time with the settings of maintainer.within.
const boundTime = "2006-01-02 15:04:05-07"

// parseDays returns the retention of a partition. ok is false for the default partition, and for others that people made.
func parseDays(bound string) (days int, ok bool) {
	found := listBound.FindStringSubmatch(bound)
	if found == nil {
		return 0, false
	}
	days, err := strconv.Atoi(found[1])
	return days, err == nil
}

// parseMonth returns the bounds of a partition. ok is false for the default partition, and for others without two bounds.
func parseMonth(name, bound string) (m month, ok bool) {
	found := rangeBound.FindStringSubmatch(bound)
	if found == nil {
		return month{}, false
	}
	start, errStart := time.Parse(boundTime, found[1])
	end, errEnd := time.Parse(boundTime, found[2])
	if errStart != nil || errEnd != nil || !start.Before(end) {
		return month{}, false
	}
	return month{name: name, start: start.UTC(), end: end.UTC()}, true
}

// retentions returns the partitions of the first level, in order.
func (m *maintainer) retentions(ctx context.Context) (found []retention, err error) {
	err = m.within(ctx, func(tx pgx.Tx) error {
		bounds, err := partitions(ctx, tx, "audit_logs")
		for name, bound := range bounds {
			if days, ok := parseDays(bound); ok {
				found = append(found, retention{name: name, days: days})
			}
		}
		return err
	})
	slices.SortFunc(found, func(a, b retention) int { return a.days - b.days })
	return found, err
}

// months returns the months of a retention, the oldest first.
func months(ctx context.Context, tx pgx.Tx, r retention) (found []month, err error) {
	bounds, err := partitions(ctx, tx, r.name)
	for name, bound := range bounds {
		if m, ok := parseMonth(name, bound); ok {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b month) int { return a.start.Compare(b.start) })
	return found, err
}

func quote(name string) string { return pgx.Identifier{"public", name}.Sanitize() }
