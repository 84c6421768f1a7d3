package rows_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/retention"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// direct is a connection as a rows.Database.
type direct struct{ conn *pgx.Conn }

func (d direct) Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return f(ctx, d.conn)
}

// busy is a trail that is written and maintained while it is read.
type busy struct {
	t             *testing.T
	sink          *rows.Sink
	reader, other *pgx.Conn
	chain         *hashchain.Chain
}

func newBusy(t *testing.T) *busy {
	t.Helper()
	db := auditsqltest.New(t, shared)
	b := &busy{t: t, reader: shared.Connect(t, db.Name), other: shared.Connect(t, db.Name), chain: hashchain.New(uuid.Must(uuid.NewV7()))}
	b.sink = rows.New(rows.Config{Database: direct{shared.Connect(t, db.Name)}, RetainDays: 35, OnRefused: func(i spool.Item, err error) { t.Error(err) }})
	return b
}

// write writes n records and a checkpoint.
func (b *busy) write(at time.Time, n int) {
	b.t.Helper()
	items := b.items(at, n)
	if _, err := b.sink.Deliver(b.t.Context(), items); err != nil {
		b.t.Fatal(err)
	}
}

func (b *busy) items(at time.Time, n int) (items []spool.Item) {
	b.t.Helper()
	for range n {
		encoded, _, err := b.chain.Append(&record.Record{Version: 1, ID: uuid.Must(uuid.NewV7()), Time: record.At(at), Category: record.Session, Action: "logout", Outcome: event.Success, Policy: "shop/orders"})
		if err != nil {
			b.t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Record, Payload: encoded})
	}
	signed := b.chain.Checkpoint("shop/orders")
	signed.Time, signed.RetainDays = at, 35
	// The signature is not what is tested: a note without one is a checkpoint for a verifier without keys.
	return append(items, spool.Item{Kind: spool.Checkpoint, Payload: fmt.Appendf(nil, "postern.dev/audit/shop/orders/%s\n%d\n%s\ntime %s\nretain 35d\n\n— x AAAAAAAA\n",
		b.chain.Writer(), signed.Size, signed.Root, at.UTC().Format(time.RFC3339))})
}

func (b *busy) maintain(now time.Time) retention.Result {
	b.t.Helper()
	done, err := retention.Maintain(b.t.Context(), b.other, now, retention.Config{Pruner: retention.Tree{}, LockTimeout: time.Second})
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

// verified verifies the trail, and calls meanwhile after the record with the number.
func (b *busy) verified(number uint64, meanwhile func()) verify.Summary {
	b.t.Helper()
	v := verify.New(verify.Config{OnFinding: func(f verify.Finding) { b.t.Error(f) }})
	err := rows.Chained(b.t.Context(), b.reader, func(r rows.Row) error {
		r.Verify(v)
		if r.Kind == spool.Record && r.Seq == number {
			meanwhile()
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Finish()
}

// TestReadersHoldUpNobody: while a trail is read, its partitions can be made and dropped, rows can arrive, and neither is a finding.
func TestReadersHoldUpNobody(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old := now.AddDate(0, 0, -100)
	t.Run("dropped before it is read", func(t *testing.T) {
		b := newBusy(t)
		for i := range 5 {
			b.write(old.AddDate(0, 0, 20*i), 300)
		}
		b.maintain(old)
		// All months of the retention that have passed go away while the first page is in hand.
		s := b.verified(7, func() {
			if done := b.maintain(now); len(done.Dropped) == 0 {
				t.Error("no month was dropped")
			}
		})
		if s.Removed == 0 || s.Records+s.Removed != 1500 || s.Unsigned > 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("all of it dropped", func(t *testing.T) {
		b := newBusy(t)
		b.write(old, 600)
		b.maintain(old)
		if s := b.verified(7, func() { b.maintain(now) }); s.Removed == 0 || s.Records+s.Removed != 600 || s.Unsigned > 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("arriving", func(t *testing.T) {
		b := newBusy(t)
		b.write(now, 300)
		if s := b.verified(7, func() { b.write(now, 300) }); s.Records != 600 || s.Checkpoints != 1 {
			t.Errorf("%+v", s)
		}
		// What arrives after the last page is for the next time.
		if s := b.verified(600, func() { b.write(now, 10) }); s.Records != 600 || s.Unsigned > 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("arriving out of order", func(t *testing.T) {
		b := newBusy(t)
		b.write(now, 10)
		items := b.items(now, 10)
		if _, err := b.sink.Deliver(t.Context(), items[5:]); err != nil { // one of two writers of a stream is faster
			t.Fatal(err)
		}
		late := make(chan error, 1)
		time.AfterFunc(500*time.Millisecond, func() {
			_, err := b.sink.Deliver(context.Background(), items[:5])
			late <- err
		})
		if s := b.verified(1, func() {}); s.Records != 20 || s.Unsigned > 0 {
			t.Errorf("%+v", s)
		}
		if err := <-late; err != nil {
			t.Error(err)
		}
	})
	t.Run("searched", func(t *testing.T) {
		b := newBusy(t)
		b.write(old, 600)
		b.write(now, 20)
		b.maintain(old)
		n := 0
		err := rows.Latest(t.Context(), b.reader, rows.Filter{}, 0, func(rows.Row) error {
			if n++; n == 5 {
				if done := b.maintain(now); len(done.Dropped) == 0 {
					t.Error("no month was dropped")
				}
			}
			return nil
		})
		if err != nil || n != 256+20 {
			t.Errorf("%d records, %v; want the page in hand and what is left", n, err)
		}
	})
}

// TestRowsThatNobodyWrote: rows that only an attacker could make are read, and found.
func TestRowsThatNobodyWrote(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"an endless time":   "UPDATE audit_logs SET time = 'infinity' WHERE seq = 3",
		"a negative number": "INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days) SELECT gen_random_uuid(), writer, -1, hash, record, time, 35 FROM audit_logs WHERE seq = 3",
		"no columns":        "INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days) VALUES (gen_random_uuid(), gen_random_uuid(), 1, '', '', '-infinity', 35)",
		"beside another":    "INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days) SELECT gen_random_uuid(), writer, seq, hash, replace(record, 'logout', 'login'), time, 35 FROM audit_logs WHERE seq = 256",
	} {
		b := newBusy(t)
		b.write(time.Now(), 300)
		if _, err := b.other.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		found := 0
		v := verify.New(verify.Config{OnFinding: func(verify.Finding) { found++ }})
		err := rows.Chained(t.Context(), b.reader, func(r rows.Row) error { r.Verify(v); return nil })
		if err != nil || found == 0 {
			t.Errorf("%s: %d findings, %v", name, found, err)
		}
		if err := rows.Latest(t.Context(), b.reader, rows.Filter{}, 2, func(rows.Row) error { return nil }); err != nil {
			t.Errorf("%s: a search: %v", name, err)
		}
	}
}
