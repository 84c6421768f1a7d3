// Package ratelimitmemory counts rate limits in the memory of this process, for a sidecar without Redis and for the
// time while Redis is unavailable.
package ratelimitmemory

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

// DefaultMaxKeys is the bound if Config sets none. A key needs about 50 bytes.
const DefaultMaxKeys = 1 << 16

// warnEvery is the minimum pause between two log lines about a full store.
const warnEvery = int64(time.Minute / time.Microsecond)

// Config describes a Store.
type Config struct {
	// MaxKeys is the number of keys that have their own counter. At the bound, no active key is dropped, because an
	// attacker who fills the store would then get a new quota. Instead, further keys share counters, so they may be
	// refused too early but never too late.
	MaxKeys int
	// Now is the clock; time.Now if nil. Its monotonic reading is used, so setting the clock has no effect.
	Now func() time.Time
	// Log receives a warning when the store is full.
	Log *slog.Logger
}

// Store is a ratelimit.Store. It is safe for concurrent use and runs no goroutine.
type Store struct {
	shards [shardCount]shard
	seeds  [2]maphash.Seed
	now    func() time.Time
	start  time.Time
	log    *slog.Logger
	said   atomic.Int64
}

// New returns an empty store.
func New(c Config) *Store {
	if c.MaxKeys <= 0 {
		c.MaxKeys = DefaultMaxKeys
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Store{now: c.Now, start: c.Now(), log: c.Log, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	s.said.Store(-warnEvery)
	for i := range s.shards {
		s.shards[i].init((c.MaxKeys + shardCount - 1) / shardCount)
	}
	return s
}

// Take implements ratelimit.Store. It never fails.
func (s *Store) Take(_ context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	return s.Decide(make([]ratelimit.Result, 0, len(requests)), requests, true), nil
}

// Peek implements ratelimit.Store. It never fails.
func (s *Store) Peek(_ context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	return s.Decide(make([]ratelimit.Result, 0, len(requests)), requests, false), nil
}

// Decide implements ratelimit.Direct.
func (s *Store) Decide(results []ratelimit.Result, requests []ratelimit.Request, take bool) []ratelimit.Result {
	var room [idRoom]id
	ids, shards := s.identify(room[:0], requests)
	s.lock(shards)
	defer s.unlock(shards)
	now, first := s.elapsed(), len(results)
	results, refused := s.decide(results, ids, requests, now)
	if refused || !take {
		return results
	}
	for i := range requests {
		if r := &requests[i]; results[first+i].Allowed && !r.Later {
			results[first+i] = s.charge(ids[i], r, now)
		}
	}
	return results
}

// Charge implements ratelimit.Store. It never fails.
func (s *Store) Charge(_ context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	var room [idRoom]id
	ids, shards := s.identify(room[:0], requests)
	s.lock(shards)
	defer s.unlock(shards)
	now := s.elapsed()
	results := make([]ratelimit.Result, len(requests))
	for i := range requests {
		results[i] = s.charge(ids[i], &requests[i], now)
	}
	return results, nil
}

// idRoom is how many limits a request has in the usual case.
const idRoom = 8

// identify appends the ids of the requests' keys to ids, and returns the mask of their shards.
func (s *Store) identify(ids []id, requests []ratelimit.Request) ([]id, uint32) {
	var shards uint32
	for i := range requests {
		var key id
		if r := &requests[i]; r.Raw != nil {
			key = id{maphash.Bytes(s.seeds[0], r.Raw), maphash.Bytes(s.seeds[1], r.Raw)}
		} else {
			key = id{maphash.String(s.seeds[0], r.Key), maphash.String(s.seeds[1], r.Key)}
		}
		ids, shards = append(ids, key), shards|1<<key.shard()
	}
	return ids, shards
}

// elapsed is the time since the store was created, in microseconds.
func (s *Store) elapsed() int64 { return s.now().Sub(s.start).Microseconds() }

// decide appends to results what is left of the limits, and reports whether an enforced limit has nothing left.
func (s *Store) decide(results []ratelimit.Result, ids []id, requests []ratelimit.Request, now int64) (_ []ratelimit.Result, refused bool) {
	for i := range requests {
		r, shard := &requests[i], s.shard(ids[i])
		arrival := shard.arrival(ids[i], r.Rate, now)
		used := r.Rate.Used(arrival, now)
		if r.Rate.Stale(arrival, now) {
			shard.set(ids[i], r.Rate, now+used.Microseconds(), now)
		}
		_, ok := r.Rate.TakeUnits(used, r.Units())
		results = append(results, ratelimit.NewResult(*r, used, ok))
		refused = refused || !ok && !r.Shadow
	}
	return results, refused
}

// charge counts one request. The caller holds the shard's lock.
func (s *Store) charge(key id, r *ratelimit.Request, now int64) ratelimit.Result {
	shard := s.shard(key)
	used := r.Rate.Used(shard.arrival(key, r.Rate, now), now)
	_, ok := r.Rate.TakeUnits(used, r.Units())
	used = r.Rate.ChargeUnits(used, r.Units())
	if !shard.set(key, r.Rate, now+used.Microseconds(), now) {
		s.warnFull(now)
	}
	return ratelimit.ChargedResult(*r, used, ok)
}

func (s *Store) warnFull(now int64) {
	said := s.said.Load()
	if s.log != nil && now-said >= warnEvery && s.said.CompareAndSwap(said, now) {
		s.log.Warn("rate limit memory is full; further clients share counters", "maxKeys", s.shards[0].limit*shardCount)
	}
}

func (s *Store) shard(key id) *shard { return &s.shards[key.shard()] }

// lock locks the shards of the mask in ascending order, so that two requests cannot deadlock.
func (s *Store) lock(mask uint32) {
	for ; mask != 0; mask &= mask - 1 {
		s.shards[bits.TrailingZeros32(mask)].mu.Lock()
	}
}

func (s *Store) unlock(mask uint32) {
	for ; mask != 0; mask &= mask - 1 {
		s.shards[bits.TrailingZeros32(mask)].mu.Unlock()
	}
}
