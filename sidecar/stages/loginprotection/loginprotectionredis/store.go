// Package loginprotectionredis counts attempts to log in in Redis, exactly across all sidecars that share it. One decision is one script
// and one round trip, and uses the clock of Redis.
package loginprotectionredis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

//go:embed attempts.lua
var attemptsScript string

// Conn runs operations on Redis.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is a loginprotection.Store.
type Store struct {
	conn   Conn
	script *goredis.Script
}

// New returns a store on conn.
func New(conn Conn) *Store { return &Store{conn: conn, script: goredis.NewScript(attemptsScript)} }

// Begin implements loginprotection.Store.
func (s *Store) Begin(ctx context.Context, counters []loginprotection.Counter) (loginprotection.Begun, error) {
	reply, err := s.run(ctx, "begin", counters, nil)
	if err != nil {
		return loginprotection.Begun{}, err
	}
	if len(reply) != 4 || reply[1] < 0 || int(reply[1]) >= len(counters) {
		return loginprotection.Begun{}, errors.New("counting attempt: the reply is malformed")
	}
	return loginprotection.Begun{
		Allowed: reply[0] == 1, Blocking: int(reply[1]), Wait: time.Duration(reply[2]) * time.Millisecond, Failures: int(reply[3]),
	}, nil
}

// End implements loginprotection.Store.
func (s *Store) End(ctx context.Context, counters []loginprotection.Counter, outcomes []loginprotection.Outcome) ([]bool, error) {
	reply, err := s.run(ctx, "end", counters, outcomes)
	if err != nil {
		return nil, err
	}
	if len(reply) != len(counters) {
		return nil, errors.New("counting attempt: the reply is malformed")
	}
	locked := make([]bool, len(reply))
	for i, v := range reply {
		locked[i] = v == 1
	}
	return locked, nil
}

// Look implements loginprotection.Store.
func (s *Store) Look(ctx context.Context, counters []loginprotection.Counter) ([]loginprotection.State, error) {
	const width = 4
	reply, err := s.run(ctx, "look", counters, nil)
	if err != nil {
		return nil, err
	}
	if len(reply) != width*len(counters) {
		return nil, errors.New("reading counted attempts: the reply is malformed")
	}
	states := make([]loginprotection.State, len(counters))
	for i := range states {
		of := reply[i*width:]
		states[i] = loginprotection.State{Failures: int(of[0]), Latest: moment(of[1]), Locks: int(of[2]), Until: moment(of[3])}
	}
	return states, nil
}

// moment returns a time of the script, in milliseconds; 0 is the zero time.
func moment(milliseconds int64) time.Time {
	if milliseconds <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds).UTC()
}

func (s *Store) run(ctx context.Context, operation string, counters []loginprotection.Counter, outcomes []loginprotection.Outcome) (reply []int64, err error) {
	keys := make([]string, len(counters))
	args := []any{operation}
	for i, c := range counters {
		keys[i] = c.Key
		args = append(args, c.Limit, c.Within.Milliseconds(), c.LockFor.Milliseconds(), c.MaxLock.Milliseconds())
		if outcomes != nil {
			args = append(args, string(outcomes[i]))
		}
	}
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.script.Run(ctx, client, keys, args...).Int64Slice()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting attempt: %w", err)
	}
	return reply, nil
}

// Put implements loginprotection.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration, absent bool) ([]byte, error) {
	stored := value
	err := s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		if !absent {
			return client.Set(ctx, key, value, ttl).Err()
		}
		set, err := client.SetNX(ctx, key, value, ttl).Result()
		if err != nil || set {
			return err
		}
		stored, err = client.Get(ctx, key).Bytes()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storing value: %w", err)
	}
	return stored, nil
}

// Get implements loginprotection.Store.
func (s *Store) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		if value, err = client.Get(ctx, key).Bytes(); errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading value: %w", err)
	}
	return value, nil
}
