package retention

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
)

// maxCheckpoints bounds the checkpoints of a writer that are looked at for one cut.
const maxCheckpoints = 100

// checkpoint returns the checkpoint of a writer that shows that its records up to the last one of the month may be dropped: one that covers
// them, and whose retention has passed; or an earlier one if none covers them, because the writer was killed before it signed; or none if
// the writer never signed. due is false if there are checkpoints, and none says that its retention has passed. Nothing is verified: this
// process has no key.
func (m *maintainer) checkpoint(ctx context.Context, tx pgx.Tx, w lastOf) (signed string, due bool, err error) {
	waits := false
	for _, statement := range []string{
		"SELECT note FROM audit_checkpoints WHERE writer = $1 AND size >= $2 ORDER BY size LIMIT $3",
		"SELECT note FROM audit_checkpoints WHERE writer = $1 AND size < $2 ORDER BY size DESC LIMIT $3",
	} {
		rows, err := tx.Query(ctx, statement, w.writer, w.seq, maxCheckpoints)
		if err != nil {
			return "", false, fmt.Errorf("reading checkpoints: %w", err)
		}
		notes, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return "", false, fmt.Errorf("reading checkpoints: %w", err)
		}
		for _, n := range notes {
			c, err := hashchain.Peek([]byte(n))
			if err != nil || c.Writer.String() != w.writer {
				continue // verification reports it
			}
			if c.Due(m.now) {
				return n, true, nil
			}
			waits = true
		}
		if waits {
			return "", false, nil
		}
	}
	return "", true, nil
}
