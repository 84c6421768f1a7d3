// Package passwordpolicyredis keeps hashes of old passwords in Redis, for all sidecars that share it. Each operation is one round trip, and
// uses the clock of Redis.
package passwordpolicyredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

//go:embed history.lua
var historyScript string

// Conn runs operations on Redis.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is a passwordpolicy.Store.
type Store struct {
	conn   Conn
	script *goredis.Script
}

// New returns a store on conn.
func New(conn Conn) *Store { return &Store{conn: conn, script: goredis.NewScript(historyScript)} }

// Old implements passwordpolicy.Store.
func (s *Store) Old(ctx context.Context, key string) (hashes []string, wait time.Duration, err error) {
	reply, err := s.run(ctx, key, "old", passwordpolicy.JudgedLimit, passwordpolicy.JudgedWithin.Milliseconds())
	if err != nil {
		return nil, 0, fmt.Errorf("reading old passwords: %w", err)
	}
	if len(reply) != 2 {
		return nil, 0, errMalformed
	}
	left, ok := reply[0].(int64)
	text, isText := reply[1].(string)
	switch {
	case !ok || !isText || left < 0:
		return nil, 0, errMalformed
	case left > 0 || text == "":
		return nil, time.Duration(left) * time.Millisecond, nil
	}
	return strings.Split(text, "\n"), 0, nil
}

var errMalformed = errors.New("reading old passwords: the reply is malformed")

// Add implements passwordpolicy.Store.
func (s *Store) Add(ctx context.Context, key, hash string, keep int, ttl time.Duration) error {
	if _, err := s.run(ctx, key, "add", hash, keep, ttl.Milliseconds()); err != nil {
		return fmt.Errorf("keeping a password: %w", err)
	}
	return nil
}

func (s *Store) run(ctx context.Context, key string, args ...any) (reply []any, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.script.Run(ctx, client, []string{key}, args...).Slice()
		return err
	})
	return reply, err
}

// Changed implements passwordpolicy.Store.
func (s *Store) Changed(ctx context.Context, key string) (at time.Time, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		milliseconds, err := client.HGet(ctx, key, "c").Int64()
		switch {
		case errors.Is(err, goredis.Nil):
			return nil
		case err != nil:
			return err
		}
		at = time.UnixMilli(milliseconds)
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the date of a password: %w", err)
	}
	return at, nil
}
