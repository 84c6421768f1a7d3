package rows

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// read returns the rows of one statement, in a transaction of its own that has ended then. A statement that reads for long would hold up
// maintenance. JIT compilation is off: it takes longer than a page of a large trail, of which the planner overestimates the cost.
func read[T any](ctx context.Context, conn *pgx.Conn, scan pgx.RowToFunc[T], statement string, args ...any) (found []T, err error) {
	var b pgx.Batch
	b.Queue("BEGIN READ ONLY")
	b.Queue("SET LOCAL jit = off")
	b.Queue(statement, args...)
	b.Queue("COMMIT")
	results := conn.SendBatch(ctx, &b)
	defer func() {
		if closing := results.Close(); err == nil {
			err = closing
		}
	}()
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
