// Package revocationredis stores revocations in Redis, shared by all sidecars: a hash of the entries and a stream of the changes, written
// by one script. A reader waits on the stream with its own connection, so it gets a change within milliseconds. Over the shared
// connection it asks the primary whether it has missed a change.
//
// Redis must not evict keys (maxmemory-policy noeviction): an evicted entry is no longer revoked.
package revocationredis

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

//go:embed add.lua
var addScript string

const (
	// streamLength is about how many changes a reader can be behind before it must load everything again.
	streamLength = 10_000
	// maxBatch bounds the entries per script, and page the entries per reply.
	maxBatch = 100
	page     = 500
)

// Conn runs operations on Redis. The caller owns the connection.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
	Hold(ctx context.Context, key string, f func(context.Context, *goredis.Conn) error) error
	HoldTimeout(wait time.Duration) time.Duration
	// Prove runs read. doubt is nil if the replies have every write that was acknowledged before the call.
	Prove(ctx context.Context, key string, read func(context.Context, goredis.Pipeliner)) (doubt, err error)
}

// Store is a revocation.Store and a revocation.Feed. It is safe for concurrent use.
type Store struct {
	conn                                 Conn
	script                               *goredis.Script
	meta, entries, expiry, stream, probe string
}

// New returns the store of scope on conn. All sidecars that trust the same issuers must share a scope.
func New(conn Conn, scope string) *Store {
	space := keyspace.New("revocation", scope)
	return &Store{
		conn: conn, script: goredis.NewScript(addScript),
		meta: space.Key("meta"), entries: space.Key("entries"), expiry: space.Key("expiry"), stream: space.Key("stream"),
		probe: space.Key("probe"),
	}
}

// Add implements revocation.Store. More than a hundred entries are added in several scripts.
func (s *Store) Add(ctx context.Context, entries ...revocation.Entry) (p revocation.Position, err error) {
	now := time.Now()
	for _, e := range entries {
		if err := e.Check(now); err != nil {
			return p, err
		}
	}
	for len(entries) > 0 {
		n := min(len(entries), maxBatch)
		if p, err = s.add(ctx, entries[:n]); err != nil {
			return revocation.Position{}, fmt.Errorf("adding revocations: %w", err)
		}
		entries = entries[n:]
	}
	return p, nil
}

func (s *Store) add(ctx context.Context, entries []revocation.Entry) (revocation.Position, error) {
	args := []any{rand.Text(), streamLength}
	for _, e := range entries {
		before := int64(0)
		if e.Kind == revocation.Subject {
			before = e.Before.UnixMicro()
		}
		args = append(args, e.ID(), e.Expires.UnixMicro(), before, name(e))
	}
	var reply []string
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.script.Run(ctx, client, []string{s.meta, s.entries, s.expiry, s.stream}, args...).StringSlice()
		return err
	})
	if err != nil {
		return revocation.Position{}, err
	}
	if len(reply) != 2 {
		return revocation.Position{}, errReply
	}
	return position(reply[0], reply[1])
}

// Find implements revocation.Feed.
func (s *Store) Find(ctx context.Context, entries []revocation.Entry) (found []revocation.Entry, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID()
	}
	var values []any
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		values, err = client.HMGet(ctx, s.entries, ids...).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if text, ok := v.(string); ok {
			e, err := decode(text)
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
	}
	return found, nil
}

// Count implements revocation.Feed.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		count, err := client.ZCount(ctx, s.expiry, strconv.FormatInt(time.Now().UnixMicro(), 10), "+inf").Result()
		n = int(count)
		return err
	})
	return n, err
}

func position(generation, sequence string) (revocation.Position, error) {
	n, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil || generation == "" {
		return revocation.Position{}, errReply
	}
	return revocation.Position{Generation: generation, Sequence: n}, nil
}

// errReply reports content that no version of this package writes.
var errReply = errors.New("the revocations in Redis are invalid")
