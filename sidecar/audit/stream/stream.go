// Package stream is the sink of the audit trail that appends to a stream in Redis, one for each namespace. Package drain moves the items from
// there to PostgreSQL.
//
// A stream is bounded. Items that have no room are refused, and stay in the spool of their trail, so nothing that the stream has is ever
// removed to make room. If Redis does not reply in time, the outcome is unknown and the items are appended again: a stream may have an item
// twice, and the database ignores the copy.
package stream

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Name is the name of the sink.
const Name = "RedisStream"

const (
	// DefaultMaxLength is the default of Config.MaxLength.
	DefaultMaxLength = 100_000
	// DefaultMaxBytes is the default of Config.MaxBytes.
	DefaultMaxBytes = 64 << 20
	// minMaxLength is the least bound: several batches of a trail.
	minMaxLength = 1000
	// Expiry is the time after the last append at which a stream expires. What nobody has read by then is lost.
	Expiry = 30 * 24 * time.Hour
	// maxChunk bounds what is appended at once, in items, and chunkBytes in bytes if it is more than one item. A chunk blocks Redis for less
	// than a millisecond or two.
	maxChunk   = 250
	chunkBytes = 256 << 10
)

//go:embed append.lua
var appendScript string

// ErrFull says that the stream has no room. It has room again when its entries have been written to the database.
var ErrFull = errors.New("the stream is full: is the audit writer running?")

// Conn runs operations on Redis. store/redis.Conn is one.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Config configures a Sink.
type Config struct {
	Conn Conn
	// Namespace is the namespace of the policy.
	Namespace string
	// RetainDays is how long the items are kept in the database, in days; 0 means for ever.
	RetainDays int
	// MaxLength bounds the stream, in entries, at least 1000; DefaultMaxLength if zero.
	MaxLength int
	// MaxBytes bounds the memory of the stream in Redis, in bytes, to one batch: other state is in the same Redis. DefaultMaxBytes if zero.
	MaxBytes int
}

// Sink appends to a stream. It is safe for concurrent use.
type Sink struct {
	conn      Conn
	script    *goredis.Script
	key       string
	retain    int
	maxLength int
	maxBytes  int
	// chunk is how many items are appended at once at present. After a timeout they are fewer: what is too large for the timeout would
	// otherwise be appended again and again.
	chunk atomic.Int32
}

// New returns a sink.
func New(c Config) (*Sink, error) {
	c.MaxLength = cmp.Or(c.MaxLength, DefaultMaxLength)
	if c.MaxLength < minMaxLength {
		return nil, fmt.Errorf("making the sink %s: the bound %d is less than %d entries", Name, c.MaxLength, minMaxLength)
	}
	if c.RetainDays < 0 || c.RetainDays > MaxRetainDays {
		return nil, fmt.Errorf("making the sink %s: items cannot be retained for %d days, only 0 to %d", Name, c.RetainDays, MaxRetainDays)
	}
	s := &Sink{
		conn: c.Conn, script: goredis.NewScript(appendScript), key: Key(c.Namespace), retain: c.RetainDays, maxLength: c.MaxLength, maxBytes: cmp.Or(c.MaxBytes, DefaultMaxBytes),
	}
	s.chunk.Store(maxChunk)
	return s, nil
}

// Name implements trail.Sink.
func (*Sink) Name() string { return Name }

// Deliver implements trail.Sink. The error matches ErrFull if the stream has no room.
func (s *Sink) Deliver(ctx context.Context, items []spool.Item) (done int, err error) {
	for done < len(items) {
		n := s.next(items[done:])
		if err := s.append(ctx, items[done:done+n]); err != nil {
			if !errors.Is(err, ErrFull) {
				s.chunk.Store(int32(max(1, n/2)))
			}
			return done, fmt.Errorf("appending %d items to a stream: %w", n, err)
		}
		s.chunk.Store(min(2*s.chunk.Load(), maxChunk))
		done += n
	}
	return done, nil
}

// next returns how many of items are appended next.
func (s *Sink) next(items []spool.Item) int {
	size := 0
	for n, i := range items {
		if size += len(i.Payload); n > 0 && (n == int(s.chunk.Load()) || size > chunkBytes) {
			return n
		}
	}
	return len(items)
}

func (s *Sink) append(ctx context.Context, items []spool.Item) error {
	args := make([]any, 0, 4+2*len(items))
	args = append(args, s.maxLength, s.maxBytes, Expiry.Milliseconds(), s.retain)
	for _, i := range items {
		args = append(args, kinds[i.Kind], i.Payload)
	}
	var length int64
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		length, err = s.script.Run(ctx, client, []string{s.key}, args...).Int64()
		return err
	})
	if err == nil && length < 0 {
		return ErrFull
	}
	return err
}
