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
	ids, unlock := s.locked(requests)
	defer unlock()
	now := s.elapsed()
	results, refused := s.decide(ids, requests, now)
	if refused {
		return results, nil
	}
	for i, r := range requests {
		if results[i].Allowed && !r.Later {
			results[i] = s.charge(ids[i], r, now)
		}
	}
	return results, nil
}

// Peek implements ratelimit.Store. It never fails.
func (s *Store) Peek(_ context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	ids, unlock := s.locked(requests)
	defer unlock()
	results, _ := s.decide(ids, requests, s.elapsed())
	return results, nil
}

// Charge implements ratelimit.Store. It never fails.
func (s *Store) Charge(_ context.Context, requests []ratelimit.Request) ([]ratelimit.Result, error) {
	ids, unlock := s.locked(requests)
	defer unlock()
	now := s.elapsed()
	results := make([]ratelimit.Result, len(requests))
	for i, r := range requests {
		results[i] = s.charge(ids[i], r, now)
	}
	return results, nil
}

// locked returns the ids of the requests' keys. Their shards are locked until unlock is called.
func (s *Store) locked(requests []ratelimit.Request) (ids []id, unlock func()) {
	ids = make([]id, len(requests))
	var involved uint32
	for i := range requests {
		ids[i] = id{maphash.String(s.seeds[0], requests[i].Key), maphash.String(s.seeds[1], requests[i].Key)}
		involved |= 1 << ids[i].shard()
	}
	s.lock(involved)
	return ids, func() { s.unlock(involved) }
}

// elapsed is the time since the store was created, in microseconds.
func (s *Store) elapsed() int64 { return s.now().Sub(s.start).Microseconds() }

// decide returns what is left of the limits, and whether an enforced limit has nothing left.
func (s *Store) decide(ids []id, requests []ratelimit.Request, now int64) (results []ratelimit.Result, refused bool) {
	results = make([]ratelimit.Result, len(requests))
	for i, r := range requests {
		shard := s.shard(ids[i])
		arrival := shard.arrival(ids[i], r.Rate, now)
		used := r.Rate.Used(arrival, now)
		if r.Rate.Stale(arrival, now) {
			shard.set(ids[i], r.Rate, now+used.Microseconds(), now)
		}
		_, ok := r.Rate.TakeUnits(used, r.Units())
		results[i] = ratelimit.NewResult(r, used, ok)
		refused = refused || !ok && !r.Shadow
	}
	return results, refused
}

// charge counts one request. The caller holds the shard's lock.
func (s *Store) charge(key id, r ratelimit.Request, now int64) ratelimit.Result {
	shard := s.shard(key)
	used := r.Rate.Used(shard.arrival(key, r.Rate, now), now)
	_, ok := r.Rate.TakeUnits(used, r.Units())
	used = r.Rate.ChargeUnits(used, r.Units())
	if !shard.set(key, r.Rate, now+used.Microseconds(), now) {
		s.warnFull(now)
	}
	return ratelimit.ChargedResult(r, used, ok)
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
