// Package tokenredis stores in Redis what replicas share about signing keys, logout tokens and DPoP proofs.
package tokenredis

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

//go:embed since.lua
var sinceScript string

// keep is how long a date is stored after the last read.
const keep = 90 * 24 * time.Hour

// Conn runs operations on Redis. The caller owns the connection.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is a signing.Registry, a backchannel.Replay and an authn.UsedProofs. It is safe for concurrent use.
type Store struct {
	conn  Conn
	keys  keyspace.Keyspace
	since *goredis.Script
}

// New returns the store of one policy; scope is "namespace/name".
func New(conn Conn, scope string) *Store {
	return &Store{conn: conn, keys: keyspace.New("token", scope), since: goredis.NewScript(sinceScript)}
}

// Since implements signing.Registry with one script and the clock of Redis.
func (s *Store) Since(ctx context.Context, believed map[string]time.Time) (map[string]time.Time, error) {
	ids := make([]string, 0, len(believed))
	keys := make([]string, 0, len(believed))
	args := []any{int64(keep.Seconds())}
	for id, at := range believed {
		ids, keys = append(ids, id), append(keys, s.keys.Key("key", id))
		micros := int64(0)
		if !at.IsZero() {
			micros = at.UnixMicro()
		}
		args = append(args, strconv.FormatInt(micros, 10))
	}
	var reply []string
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.since.Run(ctx, client, keys, args...).StringSlice()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sharing dates of signing keys: %w", err)
	}
	if len(reply) != len(ids) {
		return nil, fmt.Errorf("sharing dates of signing keys: got %d replies for %d keys", len(reply), len(ids))
	}
	dates := make(map[string]time.Time, len(ids))
	for i, id := range ids {
		micros, err := strconv.ParseInt(reply[i], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("sharing dates of signing keys: reading a date: %w", err)
		}
		dates[id] = time.UnixMicro(micros)
	}
	return dates, nil
}

// Claim implements signing.Registry.
func (s *Store) Claim(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	return s.first(ctx, s.keys.Key("claim", name), ttl)
}

// First implements backchannel.Replay.
func (s *Store) First(ctx context.Context, issuer, id string, ttl time.Duration) (bool, error) {
	return s.first(ctx, s.keys.Key("logout", issuer, id), ttl)
}

// FirstProof implements authn.UsedProofs. The key of a proof has the same length whatever its jti is.
func (s *Store) FirstProof(ctx context.Context, key dpop.Thumbprint, id string, ttl time.Duration) (bool, error) {
	return s.first(ctx, s.keys.Key("dpop", dpop.StoredID(key, id)), ttl)
}

func (s *Store) first(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	var first bool
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		first, err = client.SetNX(ctx, key, 1, ttl).Result()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("claiming in Redis: %w", err)
	}
	return first, nil
}

// Forget implements backchannel.Replay.
func (s *Store) Forget(ctx context.Context, issuer, id string) error {
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return client.Del(ctx, s.keys.Key("logout", issuer, id)).Err()
	})
	if err != nil {
		return fmt.Errorf("deleting a logout token: %w", err)
	}
	return nil
}
