// Package inflightredis counts requests in progress in Redis, exactly across all sidecars that share it. One decision is one script
// and one round trip, and uses the clock of Redis.
package inflightredis

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
)

//go:embed places.lua
var placesScript string

// Conn runs operations on Redis. It is declared here because the owner of the connection decides its lifetime.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is an inflight.Store.
type Store struct {
	conn   Conn
	script *goredis.Script
}

// New returns a store on conn.
func New(conn Conn) *Store { return &Store{conn: conn, script: goredis.NewScript(placesScript)} }

// Acquire implements inflight.Store. It fails while Redis is unavailable, within microseconds once the connection knows that.
func (s *Store) Acquire(ctx context.Context, id string, lease time.Duration, asks []inflight.Ask) ([]bool, error) {
	keys, args := make([]string, len(asks)), []any{"acquire", lease.Milliseconds(), id}
	for i, ask := range asks {
		keys[i] = ask.Key
		args = append(args, ask.Max, ask.Shadow)
	}
	reply, err := s.run(ctx, keys, args)
	if err != nil {
		return nil, fmt.Errorf("taking places: %w", err)
	}
	if len(reply) != len(asks) {
		return nil, fmt.Errorf("taking places: the reply has %d numbers for %d keys", len(reply), len(asks))
	}
	free := make([]bool, len(asks))
	for i := range reply {
		free[i] = reply[i] == 1
	}
	return free, nil
}

// Renew implements inflight.Store. It fails as Acquire does.
func (s *Store) Renew(ctx context.Context, lease time.Duration, places []inflight.Place) error {
	return s.each(ctx, "renew", lease, places)
}

// Release implements inflight.Store. It fails as Acquire does.
func (s *Store) Release(ctx context.Context, places []inflight.Place) error {
	return s.each(ctx, "release", 0, places)
}

func (s *Store) each(ctx context.Context, operation string, lease time.Duration, places []inflight.Place) error {
	if len(places) == 0 {
		return nil
	}
	keys, args := make([]string, len(places)), []any{operation, lease.Milliseconds()}
	for i, p := range places {
		keys[i] = p.Key
		args = append(args, p.ID)
	}
	if _, err := s.run(ctx, keys, args); err != nil {
		return fmt.Errorf("running %s of places: %w", operation, err)
	}
	return nil
}

func (s *Store) run(ctx context.Context, keys []string, args []any) (reply []int64, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.script.Run(ctx, client, keys, args...).Int64Slice()
		return err
	})
	return reply, err
}
