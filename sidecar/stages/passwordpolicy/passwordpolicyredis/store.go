// Package passwordpolicyredis keeps hashes of old passwords in Redis, for all sidecars that share it. Each operation is one round trip, and
// uses the clock of Redis.
package passwordpolicyredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
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
	left, text, err := s.pair(ctx, key, "old", passwordpolicy.JudgedLimit, passwordpolicy.JudgedWithin.Milliseconds())
	if err != nil {
		return nil, 0, fmt.Errorf("reading old passwords: %w", err)
	}
	if left > 0 || text == "" {
		return nil, time.Duration(left) * time.Millisecond, nil
	}
	return strings.Split(text, "\n"), 0, nil
}

// Look implements passwordpolicy.Store.
func (s *Store) Look(ctx context.Context, key string) (k passwordpolicy.Kept, err error) {
	n, text, err := s.pair(ctx, key, "look")
	if err != nil {
		return k, fmt.Errorf("reading what is kept of an account: %w", err)
	}
	k.Hashes = int(n)
	if milliseconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		k.Changed = time.UnixMilli(milliseconds).UTC()
	}
	return k, nil
}

// Delete implements passwordpolicy.Store.
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	n, _, err := s.pair(ctx, key, "delete")
	if err != nil {
		return false, fmt.Errorf("deleting what is kept of an account: %w", err)
	}
	return n > 0, nil
}

// pair runs an operation that replies with a number and a text.
func (s *Store) pair(ctx context.Context, key string, args ...any) (n int64, text string, err error) {
	reply, err := s.run(ctx, key, args...)
	if err != nil {
		return 0, "", err
	}
	if len(reply) != 2 {
		return 0, "", errMalformed
	}
	n, ok := reply[0].(int64)
	text, isText := reply[1].(string)
	if !ok || !isText || n < 0 {
		return 0, "", errMalformed
	}
	return n, text, nil
}

var errMalformed = errors.New("the reply is malformed")

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
