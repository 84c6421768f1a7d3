package rows

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// pageSize is the number of records that one statement reads.
const pageSize = 256

// place is the place of a record in the order of time.
type place struct {
	time   pgtype.Timestamptz
	writer uuid.UUID
	seq    int64
	id     uuid.UUID
	retain int
}

// Latest calls f with the records of the filter in the order of their time, and at most limit of the latest; all if limit is 0. It reads in
// pages, and holds no transaction open while f runs.
func Latest(ctx context.Context, conn *pgx.Conn, filter Filter, limit int, f func(Row) error) error {
	condition, args := filter.where()
	at, err := start(ctx, conn, condition, args, limit)
	if err != nil {
		return err
	}
	n := len(args)
	statement := fmt.Sprintf(`SELECT %s FROM audit_logs WHERE %s AND time >= $%d AND (time, writer, seq, id, retain_days) %%s ($%d, $%d, $%d, $%d, $%d)
		ORDER BY time, writer, seq, id, retain_days LIMIT %d`, storedColumns, condition, n+1, n+1, n+2, n+3, n+4, n+5, pageSize)
	for after, count := ">=", 0; ; after = ">" {
		found, err := page(ctx, conn, fmt.Sprintf(statement, after), append(args[:n:n], at.time, at.writer, at.seq, at.id, at.retain)...)
		if err != nil {
			return err
		}
		for i := range found {
			if count++; limit > 0 && count > limit {
				return nil
			}
			if err := f(found[i].row()); err != nil {
				return err
			}
		}
		if len(found) < pageSize {
			return nil
		}
		last := found[len(found)-1]
		at = place{last.time, last.writer, last.seq, last.id, last.retain}
	}
}

// start returns the place of the first record of a search.
func start(ctx context.Context, conn *pgx.Conn, condition string, args []any, limit int) (at place, err error) {
	at.time = pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.NegativeInfinity}
	if limit <= 0 {
		return at, nil
	}
	statement := fmt.Sprintf(`SELECT time, writer, seq, id, retain_days FROM audit_logs WHERE %s
		ORDER BY time DESC, writer DESC, seq DESC, id DESC, retain_days DESC OFFSET %d LIMIT 1`, condition, limit-1)
	found, err := read(ctx, conn, func(row pgx.CollectableRow) (p place, err error) {
		return p, row.Scan(&p.time, &p.writer, &p.seq, &p.id, &p.retain)
	}, statement, args...)
	if err != nil {
		return at, fmt.Errorf("searching the audit trail: %w", err)
	}
	if len(found) == 0 {
		return at, nil // there are fewer
	}
	return found[0], nil
}

// Estimate returns about how many records and checkpoints there are, from the statistics of the database.
func Estimate(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class c
		WHERE c.oid IN (SELECT relid FROM pg_partition_tree('audit_logs') WHERE isleaf) OR c.oid = 'audit_checkpoints'::regclass`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("estimating the size of the audit trail: %w", err)
	}
	return n, nil
}
