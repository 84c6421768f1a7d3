package ratelimitmemory

import (
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

const (
	// shardCount is the number of locks: the width of the mask in Store.Take.
	shardCount = 32
	// sharedCount is the number of shared counters of a shard for each rate.
	sharedCount = 64
	// sweepEvery and sweepFull are the minimum pauses, in microseconds, between two sweeps of a shard: one that has
	// room, and one that is full.
	sweepEvery = int64(time.Minute / time.Microsecond)
	sweepFull  = int64(10 * time.Millisecond / time.Microsecond)
)

// id identifies a key. It is two hashes with random seeds that are known only to this process. So keys of any length
// need the same memory, and a client cannot create a collision.
type id [2]uint64

func (i id) shard() int { return int(i[0] % shardCount) }

// sharedKey identifies a shared counter. Rates do not share counters, because "used" means a different time for each
// rate.
type sharedKey struct {
	rate gcra.Rate
	slot uint64
}

func shareOf(key id, rate gcra.Rate) sharedKey {
	return sharedKey{rate: rate, slot: key[1] % sharedCount}
}

// shard holds the theoretical arrival times of some keys, in microseconds.
type shard struct {
	mu     sync.Mutex
	limit  int
	keys   map[id]int64
	shared map[sharedKey]int64
	// swept is the time of the last sweep, and due the earliest time at which a key expires.
	swept, due int64
}

func (s *shard) init(limit int) {
	s.limit = limit
	s.keys, s.shared = map[id]int64{}, map[sharedKey]int64{}
}

// arrival returns the key's own time, or the time of its shared counter. It reads the shared counter also after there
// is room again, so that a key that was counted there while the shard was full keeps its count.
func (s *shard) arrival(key id, rate gcra.Rate, now int64) int64 {
	if t, ok := s.keys[key]; ok && t > now {
		return t
	}
	if len(s.shared) == 0 {
		return 0
	}
	return s.shared[shareOf(key, rate)]
}

// set stores the key's time. It returns false if the time had to be stored in a shared counter.
func (s *shard) set(key id, rate gcra.Rate, arrival, now int64) bool {
	if _, ok := s.keys[key]; !ok {
		s.sweep(now)
		if len(s.keys) >= s.limit {
			s.shared[shareOf(key, rate)] = arrival
			return false
		}
	}
	s.keys[key] = arrival
	s.due = min(s.due, arrival)
	return true
}

// sweep removes expired keys if a sweep is due.
func (s *shard) sweep(now int64) {
	full := len(s.keys) >= s.limit && now >= s.due && now-s.swept >= sweepFull
	if !full && now-s.swept < sweepEvery {
		return
	}
	s.swept, s.due = now, now+sweepEvery
	for key, t := range s.keys {
		if t <= now {
			delete(s.keys, key)
		} else {
			s.due = min(s.due, t)
		}
	}
	for key, t := range s.shared {
		if t <= now {
			delete(s.shared, key)
		}
	}
}
