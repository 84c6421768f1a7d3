// Package ratelimitredis counts rate limits in Redis, exactly across all sidecars that share it. One decision is one
// script and one round trip, and uses the clock of Redis. The decisions of concurrent requests share a write.
package ratelimitredis

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

//go:embed limits.lua
var limitsScript string

// Conn runs operations on Redis. It is declared here because the owner of the connection decides its lifetime.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is a ratelimit.Store.
type Store struct {
	conn    Conn
	batches *batcher
}

// New returns a store on conn. In a Redis cluster all keys of one call must share a hash tag, as the keys of one
// keyspace.Keyspace do.
func New(conn Conn) *Store {
	return &Store{conn: conn, batches: &batcher{script: goredis.NewScript(limitsScript)}}
}

// Take implements ratelimit.Store. It fails while Redis is unavailable, within microseconds once the connection knows
// that.
func (s *Store) Take(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	return s.run(ctx, "take", requests)
}

// Peek implements ratelimit.Store. It fails as Take does.
func (s *Store) Peek(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	return s.run(ctx, "peek", requests)
}

// Charge implements ratelimit.Store. It fails as Take does.
func (s *Store) Charge(ctx context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	return s.run(ctx, "charge", requests)
}

// run runs the script for one operation.
func (s *Store) run(ctx context.Context, operation string, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	keys := make([]string, len(requests))
	args := make([]any, 0, 1+6*len(requests))
	args = append(args, operation)
	for i, r := range requests {
		keys[i] = r.Key
		args = append(args, r.Rate.Emission.Microseconds(), r.Rate.Burst, r.Rate.Debt, r.Shadow, r.Units(), r.Later)
	}
	var reply []int64
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.batches.run(ctx, client, keys, args).Int64Slice()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("running %s of rate limits: %w", operation, err)
	}
	if len(reply) != 2*len(requests) {
		return nil, fmt.Errorf("running %s of rate limits: the reply has %d numbers for %d requests", operation, len(reply), len(requests))
	}
	result := ratelimit.NewResult
	if operation == "charge" {
		result = ratelimit.ChargedResult
	}
	results := make([]ratelimit.Result, len(requests))
	for i, r := range requests {
		used := time.Duration(reply[2*i+1]) * time.Microsecond
		results[i] = result(r, used, reply[2*i] == 1)
	}
	return results, nil
}
