package revocationredis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/login/revocation"
)

// maxWait is the longest wait for a change. Closing an index takes as long.
const maxWait = time.Second

// Load implements revocation.Feed. It uses one connection for all pages, because a scan must continue at the same server.
func (s *Store) Load(ctx context.Context, apply func([]revocation.Entry)) (cursor revocation.Cursor, err error) {
	cursor, doubt, err := s.cursor(ctx)
	if err != nil {
		return cursor, fmt.Errorf("loading revocations: %w", err)
	}
	err = s.conn.Hold(ctx, s.entries, func(ctx context.Context, conn *goredis.Conn) error {
		if err := s.reached(ctx, conn, cursor); err != nil {
			return err
		}
		for at := uint64(0); ; {
			pairs, next, err := s.scan(ctx, conn, at)
			if err != nil {
				return err
			}
			entries, err := decodePairs(pairs)
			if err != nil {
				return err
			}
			apply(entries)
			if at = next; at == 0 {
				return nil
			}
		}
	})
	if err != nil {
		return cursor, fmt.Errorf("loading revocations: %w", err)
	}
	if doubt != nil {
		return cursor, fmt.Errorf("%w: %w", revocation.ErrUnproven, doubt)
	}
	return cursor, nil
}

// reached returns an error if the connection that lists the entries is behind the cursor: a proxy may send its reads to a replica.
func (s *Store) reached(ctx context.Context, conn *goredis.Conn, cursor revocation.Cursor) error {
	ctx, cancel := context.WithTimeout(ctx, s.conn.HoldTimeout(0))
	defer cancel()
	values, err := conn.HMGet(ctx, s.meta, fields...).Result()
	if err != nil {
		return err
	}
	seen, err := decodeCursor(values)
	if err != nil {
		return err
	}
	if cursor.Generation != "" && !seen.Covers(cursor.Position) {
		return fmt.Errorf("a server lists the revocations up to %s, not up to %s", seen.Position, cursor.Position)
	}
	return nil
}

func (s *Store) scan(ctx context.Context, conn *goredis.Conn, at uint64) (pairs []string, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.conn.HoldTimeout(0))
	defer cancel()
	return conn.HScan(ctx, s.entries, at, "", page).Result()
}

func decodePairs(pairs []string) ([]revocation.Entry, error) {
	entries := make([]revocation.Entry, 0, len(pairs)/2)
	for i := 1; i < len(pairs); i += 2 {
		e, err := decode(pairs[i])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// fields are those of the position.
var fields = []string{"generation", "sequence", "tip", "offset"}

// cursor reads the position over the shared connection. doubt is nil if the server has proved to be the master.
func (s *Store) cursor(ctx context.Context) (c revocation.Cursor, doubt, err error) {
	var reply *goredis.SliceCmd
	doubt, err = s.conn.Prove(ctx, s.probe, func(ctx context.Context, p goredis.Pipeliner) { reply = p.HMGet(ctx, s.meta, fields...) })
	if err != nil {
		return c, doubt, err
	}
	c, err = decodeCursor(reply.Val())
	return c, doubt, err
}

func decodeCursor(values []any) (c revocation.Cursor, err error) {
	texts := make([]string, len(fields))
	for i, v := range values[:min(len(values), len(fields))] {
		texts[i], _ = v.(string)
	}
	if texts[0] == "" { // nothing has been revoked
		return revocation.Cursor{Offset: "0-0"}, nil
	}
	c = revocation.Cursor{Tip: texts[2], Offset: texts[3]}
	c.Position, err = position(texts[0], texts[1])
	return c, err
}

// Follow implements revocation.Feed.
func (s *Store) Follow(ctx context.Context, from revocation.Cursor, maxSilence time.Duration, sink revocation.Sink) error {
	err := s.conn.Hold(ctx, s.stream, func(ctx context.Context, conn *goredis.Conn) error {
		f := follower{store: s, conn: conn, cursor: from, wait: min(maxSilence/4, maxWait), sink: sink, first: true}
		for {
			if err := f.step(ctx); err != nil {
				return err
			}
		}
	})
	if errors.Is(err, revocation.ErrGap) {
		return revocation.ErrGap
	}
	return fmt.Errorf("following revocations: %w", err)
}

type follower struct {
	store  *Store
	conn   *goredis.Conn
	cursor revocation.Cursor
	wait   time.Duration
	sink   revocation.Sink
	// behind says that the master has a change that the stream has not returned.
	behind bool
	// first says that nothing was read yet. The first step does not wait, so that an index knows at once whether it is complete.
	first bool
}

// step waits for changes, passes them on, and checks whether there are others.
func (f *follower) step(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait := f.wait
	if f.behind || f.first {
		wait = -1 // do not wait
	}
	messages, err := f.read(ctx, wait)
	if err != nil {
		return err
	}
	if err := f.hand(messages); err != nil {
		return err
	}
	f.first = false
	at := time.Now()
	cursor, doubt, err := f.store.cursor(ctx)
	switch {
	case err != nil:
		return err
	case cursor.Tip == f.cursor.Tip:
		f.behind = false
		if doubt != nil { // the changes that arrive are still applied, and the index ages
			return f.sink.Doubt(doubt)
		}
		return f.sink.Fresh(ctx, at)
	case f.behind && len(messages) == 0:
		return revocation.ErrGap
	}
	f.behind = true
	return nil
}

func (f *follower) read(ctx context.Context, wait time.Duration) ([]goredis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, f.store.conn.HoldTimeout(max(wait, 0)))
	defer cancel()
	streams, err := f.conn.XRead(ctx, &goredis.XReadArgs{
		Streams: []string{f.store.stream, f.cursor.Offset}, Count: page, Block: wait,
	}).Result()
	if errors.Is(err, goredis.Nil) {
		return nil, nil
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// hand passes messages to the sink. Each must follow its predecessor.
func (f *follower) hand(messages []goredis.XMessage) error {
	if len(messages) == 0 {
		return nil
	}
	entries := make([]revocation.Entry, 0, len(messages))
	for _, m := range messages {
		text := func(name string) string { s, _ := m.Values[name].(string); return s }
		if text("last") != f.cursor.Tip {
			return revocation.ErrGap
		}
		at, err := position(text("generation"), text("sequence"))
		if err != nil {
			return err
		}
		e, err := decode(text("entry"))
		if err != nil {
			return err
		}
		f.cursor = revocation.Cursor{Position: at, Tip: text("tip"), Offset: m.ID}
		entries = append(entries, e)
	}
	f.sink.Apply(f.cursor, entries)
	return nil
}
