package rows

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

const (
	// fresh is how far from the present a record is while those before it may still arrive: several writers of a stream work at once.
	fresh = 5 * time.Minute
	// maxWaits bounds how often one reading waits for them, and waitTime is the time between two looks.
	maxWaits = 5
	waitTime = time.Second
)

// Chained calls f with all records, checkpoints and cuts, writer by writer, those of each writer in their order. It reads in pages: while f
// runs it holds no transaction open, and nothing but a page is in memory. Records may arrive and be removed by maintenance meanwhile.
func Chained(ctx context.Context, conn *pgx.Conn, f func(Row) error) error {
	r := &chained{conn: conn, f: f, now: time.Now, sleep: sleep}
	statement := ">="
	for last := uuid.Nil; ; statement = ">" {
		next, err := r.next(ctx, statement, last)
		if err != nil {
			return fmt.Errorf("reading the audit trail: %w", err)
		}
		if len(next) == 0 {
			return nil
		}
		if err := r.writer(ctx, next[0]); err != nil {
			return err
		}
		last = next[0]
	}
}

// chained reads a trail.
type chained struct {
	conn  *pgx.Conn
	f     func(Row) error
	waits int
	now   func() time.Time
	sleep func(context.Context, time.Duration)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// next returns the next writer of a table; none at the end.
func (r *chained) next(ctx context.Context, after string, last uuid.UUID) (next []uuid.UUID, err error) {
	statement := "SELECT writer FROM ("
	for i, table := range []string{"audit_logs", "audit_checkpoints", "audit_pruned"} {
		if i > 0 {
			statement += " UNION ALL "
		}
		statement += "(SELECT writer FROM " + table + " WHERE writer " + after + " $1 ORDER BY writer LIMIT 1)"
	}
	return read(ctx, r.conn, pgx.RowTo[uuid.UUID], statement+") AS next ORDER BY writer LIMIT 1", last)
}

// position is how far a writer was read.
type position struct {
	writer uuid.UUID
	// last is the last record that was read, and seq the largest number of a record or cut.
	last stored
	seq  int64
	// begun says that last is a record.
	begun bool
	// ahead are checkpoints that were read and not passed on. signed is the size of the last one that was read, and top that of the last
	// one that is read: later ones may cover records that arrived meanwhile. topTime is when it was written.
	ahead       []checkpoint
	signed, top int64
	topTime     time.Time
}

type checkpoint struct {
	size int64
	note string
	time pgtype.Timestamptz
}

func scanCheckpoint(row pgx.CollectableRow) (c checkpoint, err error) {
	return c, row.Scan(&c.size, &c.note, &c.time)
}

// writer reads all of a writer.
func (r *chained) writer(ctx context.Context, writer uuid.UUID) error {
	p := position{writer: writer, last: stored{seq: math.MinInt64}}
	// Checkpoints are written after the records that they cover, so this one comes first.
	top, err := read(ctx, r.conn, scanCheckpoint, "SELECT size, '', time FROM audit_checkpoints WHERE writer = $1 ORDER BY size DESC LIMIT 1", writer)
	if err != nil {
		return fmt.Errorf("reading checkpoints: %w", err)
	}
	if len(top) > 0 {
		p.top, p.topTime = top[0].size, top[0].time.Time
	}
	for {
		found, cut, err := r.settled(ctx, &p)
		if err != nil {
			return err
		}
		for i := range found {
			if err := r.pass(ctx, &p, &found[i], cut); err != nil {
				return err
			}
		}
		if len(found) < pageSize {
			return r.end(ctx, &p, cut)
		}
	}
}

// settled returns the next page of records and the cut of the writer. If records are missing in it, it looks again: they may have been moved to
// another partition or removed at that moment, or may still be on their way.
func (r *chained) settled(ctx context.Context, p *position) (found []stored, cut *hashchain.Cut, err error) {
	for again := false; ; again = true {
		if found, err = r.page(ctx, p); err != nil {
			return nil, nil, err
		}
		// A partition is dropped in the transaction that writes the cut, so records that are not in the page are in the cut that is read
		// after it.
		_, missing, _ := p.gap(found, nil)
		if cut, err = r.cut(ctx, p.writer, missing); err != nil {
			return nil, nil, err
		}
		at, _, gap := p.gap(found, cut)
		if !gap || again && (r.waits == maxWaits || r.now().Sub(at).Abs() > fresh) || ctx.Err() != nil {
			return found, cut, nil
		}
		if again {
			r.waits++
			r.sleep(ctx, waitTime)
		}
	}
}

// gap reports whether records are missing, the number of the last one of them, and the time of what follows.
func (p *position) gap(found []stored, cut *hashchain.Cut) (at time.Time, missing int64, gap bool) {
	last := p.seq
	for i := range found {
		if found[i].seq > last+1 && !covers(cut, found[i].seq-1) {
			return found[i].time.Time, found[i].seq - 1, true
		}
		last = max(last, found[i].seq)
	}
	if len(found) < pageSize && p.top > last && !covers(cut, p.top) {
		return p.topTime, p.top, true
	}
	return at, 0, false
}

func covers(cut *hashchain.Cut, seq int64) bool {
	return cut != nil && seq >= 0 && cut.Size >= uint64(seq)
}

// page returns the next records. More than one can have the same number, if somebody added one.
func (r *chained) page(ctx context.Context, p *position) ([]stored, error) {
	const order = " ORDER BY seq, id, retain_days, time LIMIT "
	statement := "SELECT " + storedColumns + " FROM audit_logs WHERE writer = $1 AND seq >= $2"
	if !p.begun {
		return page(ctx, r.conn, statement+order+fmt.Sprint(pageSize), p.writer, p.last.seq)
	}
	statement += " AND (seq, id, retain_days, time) > ($2, $3, $4, $5)"
	return page(ctx, r.conn, statement+order+fmt.Sprint(pageSize), p.writer, p.last.seq, p.last.id, p.last.retain, p.last.time)
}

// cut returns the cut of a writer whose last record has a number, or else the latest; nil for none.
func (r *chained) cut(ctx context.Context, writer uuid.UUID, number int64) (*hashchain.Cut, error) {
	found, err := read(ctx, r.conn, func(row pgx.CollectableRow) (*hashchain.Cut, error) {
		var size int64
		var last []byte
		var at pgtype.Timestamptz
		c := &hashchain.Cut{Writer: writer}
		err := row.Scan(&size, &last, &c.State, &c.Checkpoint, &at)
		c.Size, c.Time = uint64(max(size, 0)), at.Time
		copy(c.Last[:], last)
		return c, err
	}, `SELECT size, last_hash, nodes, coalesce(checkpoint, ''), time FROM audit_pruned
		WHERE writer = $1 ORDER BY size = $2 DESC, size DESC LIMIT 1`, writer, number)
	if err != nil {
		return nil, fmt.Errorf("reading audit_pruned: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found[0], nil
}

// pass passes on a record, and what comes before it.
func (r *chained) pass(ctx context.Context, p *position, s *stored, cut *hashchain.Cut) error {
	if cut != nil && s.seq > 0 && uint64(s.seq) > cut.Size {
		if err := r.passCut(p, cut); err != nil {
			return err
		}
	}
	if err := r.checkpoints(ctx, p, s.seq-1); err != nil {
		return err
	}
	p.last, p.begun, p.seq = *s, true, max(p.seq, s.seq)
	p.last.payload = ""
	return r.f(s.row())
}

func (r *chained) passCut(p *position, cut *hashchain.Cut) error {
	if cut.Size <= uint64(p.seq) {
		return nil
	}
	p.seq = int64(cut.Size)
	return r.f(Row{Cut: cut, Writer: p.writer})
}

// end passes on what comes after the last record.
func (r *chained) end(ctx context.Context, p *position, cut *hashchain.Cut) error {
	if cut != nil {
		if err := r.passCut(p, cut); err != nil {
			return err
		}
	}
	return r.checkpoints(ctx, p, math.MaxInt64)
}

// checkpoints passes on the checkpoints up to a size.
func (r *chained) checkpoints(ctx context.Context, p *position, upTo int64) error {
	for {
		if len(p.ahead) == 0 {
			if p.signed >= p.top {
				return nil
			}
			if err := r.readAhead(ctx, p); err != nil {
				return err
			}
			continue
		}
		c := p.ahead[0]
		if c.size > upTo {
			return nil
		}
		p.ahead = p.ahead[1:]
		if err := r.f(Row{Item: spool.Item{Kind: spool.Checkpoint, Payload: []byte(c.note)}, Writer: p.writer, Seq: uint64(c.size)}); err != nil {
			return err
		}
	}
}

// readAhead reads the next page of checkpoints.
func (r *chained) readAhead(ctx context.Context, p *position) error {
	var err error
	p.ahead, err = read(ctx, r.conn, scanCheckpoint, "SELECT size, note, time FROM audit_checkpoints WHERE writer = $1 AND size > $2 AND size <= $3 ORDER BY size LIMIT $4",
		p.writer, p.signed, p.top, pageSize)
	if err != nil {
		return fmt.Errorf("reading checkpoints: %w", err)
	}
	if p.signed = p.top; len(p.ahead) == pageSize {
		p.signed = p.ahead[pageSize-1].size
	}
	return nil
}
