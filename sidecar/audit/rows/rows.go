// Package rows is the sink of the audit trail that writes to the tables of PostgreSQL.
//
// A batch is one transaction: first the keys of subjects, then the records, then the checkpoints, so that a checkpoint never covers a record
// that is not there. A batch is copied (COPY). If that fails, the outcome may be unknown, so the same batch is then inserted, and what is
// there already is left. Only INSERT on the tables is needed.
package rows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Name is the name of the sink.
const Name = "PostgreSQL"

// Database runs f with a connection. An error of f is returned with its cause. store/postgres.Pool is one.
type Database interface {
	Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error
}

// Config configures a Sink.
type Config struct {
	Database Database
	// RetainDays is how long records are kept, in days.
	RetainDays int
	// OnRefused is called for each item that the database refuses for its content, or that cannot be read, such as one of a later version. Such
	// an item is given up: it would hold up all others. Required.
	OnRefused func(spool.Item, error)
}

// Sink writes to the tables. It is safe for concurrent use.
type Sink struct {
	cfg Config
	mu  sync.Mutex
	// uncertain says that the last batch may have been written.
	uncertain bool
}

// New returns a sink.
func New(c Config) *Sink { return &Sink{cfg: c} }

// Name implements trail.Sink.
func (*Sink) Name() string { return Name }

// Deliver implements trail.Sink.
func (s *Sink) Deliver(ctx context.Context, items []spool.Item) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	readable, unreadable := s.readable(items)
	if err := s.deliver(ctx, readable); err != nil {
		return 0, err
	}
	for i, err := range unreadable {
		s.cfg.OnRefused(items[i], err)
	}
	return len(items), nil
}

// readable returns the items that can be read, and why others cannot, by their places.
func (s *Sink) readable(items []spool.Item) (good []spool.Item, bad map[int]error) {
	for n, i := range items {
		if _, err := s.tables([]spool.Item{i}); err == nil {
			good = append(good, i)
			continue
		} else if bad == nil {
			bad = map[int]error{n: err}
		} else {
			bad[n] = err
		}
	}
	return good, bad
}

func (s *Sink) deliver(ctx context.Context, items []spool.Item) error {
	tables, err := s.tables(items)
	if err != nil {
		return err
	}
	err = s.cfg.Database.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if s.uncertain {
			return insert(ctx, conn, tables)
		}
		return copyInto(ctx, conn, tables)
	})
	if err == nil {
		s.uncertain = false
		return nil
	}
	first := !s.uncertain
	s.uncertain = true
	if refusedContent(err) {
		if first {
			return s.deliver(ctx, items) // a copy fails as a whole also for one row that is there already
		}
		return s.oneByOne(ctx, items, err)
	}
	return fmt.Errorf("writing %d items: %w", len(items), err)
}

// oneByOne writes the items of a batch that the database refused, and gives up those that it refuses alone.
func (s *Sink) oneByOne(ctx context.Context, items []spool.Item, cause error) error {
	if len(items) == 1 {
		s.cfg.OnRefused(items[0], cause)
		s.uncertain = false
		return nil
	}
	for _, half := range [][]spool.Item{items[:len(items)/2], items[len(items)/2:]} {
		s.uncertain = true
		if err := s.deliver(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

// refusedContent reports whether the database refused a row for what is in it: a data exception or a violated constraint.
func refusedContent(err error) bool {
	var p *pgconn.PgError
	return errors.As(err, &p) && (strings.HasPrefix(p.Code, "22") || strings.HasPrefix(p.Code, "23"))
}

// tables returns the rows of items by table, in the order in which the tables are written.
func (s *Sink) tables(items []spool.Item) ([]table, error) {
	keys, logs, checkpoints := newTable("audit_subject_keys", "key_id", "subject_hash", "wrapped", "created"), newTable("audit_logs", columns()...),
		newTable("audit_checkpoints", "writer", "size", "time", "note")
	for _, i := range items {
		var err error
		switch i.Kind {
		case spool.Record:
			var r *record.Record
			if r, err = record.Decode(i.Payload); err == nil {
				logs.add(s.row(r, i.Payload)...)
			}
		case spool.Checkpoint:
			var c hashchain.Checkpoint
			if c, err = hashchain.Peek(i.Payload); err == nil {
				checkpoints.add(c.Writer, int64(c.Size), now(), string(i.Payload))
			}
		case spool.SubjectKey:
			var k personal.SubjectKey
			if k, err = personal.DecodeSubjectKey(i.Payload); err == nil {
				keys.add(k.ID, k.Subject, k.Wrapped, k.Created)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("reading an item of the spool: %w", err)
		}
	}
	return []table{*keys, *logs, *checkpoints}, nil
}
