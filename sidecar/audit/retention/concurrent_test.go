package retention

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
)

// TestWritersGoOn copies records as two writers while a year is maintained. No batch fails, and every record is there or recorded as
// dropped.
func TestWritersGoOn(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	var now, written atomic.Int64
	now.Store(date(2026, time.January, 15).Unix())
	var wg sync.WaitGroup
	stop := make(chan struct{})
	halt := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(halt)
	for writer := range 2 {
		user, password := shared.User(t, auditsql.Writer)
		conn := shared.ConnectAs(t, user, password, tr.Name)
		wg.Go(func() { copyUntil(t, stop, conn, writerID(writer+1), &now, &written) })
	}
	for step := range 24 {
		at := date(2026, time.January, 15).AddDate(0, 0, 15*step)
		for before := written.Load(); written.Load() == before; {
			time.Sleep(time.Millisecond)
			if t.Failed() {
				t.FailNow()
			}
		}
		now.Store(at.Unix())
		// A run that waits for a table gives up; the next one goes on.
		_, err := Maintain(t.Context(), tr.owner, at, Config{Pruner: Tree{}, HashSubject: hashSubject})
		if err != nil && !strings.Contains(err.Error(), "lock timeout") {
			t.Fatal(err)
		}
	}
	halt()
	present := tr.count(t, "audit_logs")
	dropped := query[int64](t, tr, "SELECT coalesce(sum(size), 0)::bigint FROM (SELECT max(size) AS size FROM audit_pruned GROUP BY writer) s")[0]
	if present+dropped != written.Load() || present == 0 || dropped == 0 {
		t.Errorf("of %d records %d are there and %d are recorded as dropped", written.Load(), present, dropped)
	}
}

// copyUntil writes batches of records with the present time until stop is closed.
func copyUntil(t *testing.T, stop chan struct{}, conn *pgx.Conn, writer string, now, written *atomic.Int64) {
	const batch = 5
	columns := []string{"id", "writer", "seq", "prev", "hash", "record", "time", "subject", "retain_days"}
	var last []byte
	seq := int64(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		at := time.Unix(now.Load(), 0)
		_, err := conn.CopyFrom(t.Context(), pgx.Identifier{"audit_logs"}, columns, pgx.CopyFromSlice(batch, func(int) ([]any, error) {
			var id [16]byte
			_, _ = rand.Read(id[:])
			seq++
			text := fmt.Sprintf(`{"seq":%d}`, seq)
			hash := sha256.Sum256([]byte("\x00" + text))
			r := []any{id, writer, seq, last, hash[:], text, at, "ada", 30}
			last = hash[:]
			return r, nil
		}))
		if err != nil {
			t.Errorf("batch until %d: %v", seq, err)
			return
		}
		written.Add(batch)
	}
}
