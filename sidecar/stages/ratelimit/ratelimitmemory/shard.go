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
	// sweepEvery and sweepFull are the least pauses, in microseconds, between two sweeps of a shard that has room and of
	// one that is full.
	sweepEvery = int64(time.Minute / time.Microsecond)
	sweepFull  = int64(10 * time.Millisecond / time.Microsecond)
)

// id stands for a key: two hashes under seeds that nobody outside the process knows, so that keys of any length take the
// same room and nobody can make two of them meet.
type id [2]uint64

func (i id) shard() int { return int(i[0] % shardCount) }

// sharedKey names a shared counter. Counters of different rates are never mixed: each means another time by "used".
type sharedKey struct {
	rate gcra.Rate
	slot uint64
}

func shareOf(key id, rate gcra.Rate) sharedKey {
	return sharedKey{rate: rate, slot: key[1] % sharedCount}
}

// shard holds the theoretical arrival times, in microseconds, of some keys.
type shard struct {
	mu     sync.Mutex
	limit  int
	keys   map[id]int64
	shared map[sharedKey]int64
	// swept is when expired times were last removed, and due when the next one expires at the earliest.
	swept, due int64
}

func (s *shard) init(limit int) {
	s.limit = limit
	s.keys, s.shared = map[id]int64{}, map[sharedKey]int64{}
}

// arrival is the key's own time, or else that of its shared counter: also where there is room by now, so that a key which
// was counted there while the shard was full goes on from there.
func (s *shard) arrival(key id, rate gcra.Rate, now int64) int64 {
	if t, ok := s.keys[key]; ok && t > now {
		return t
	}
	if len(s.shared) == 0 {
		return 0
	}
	return s.shared[shareOf(key, rate)]
}

// set stores the key's time, and reports false where it had to be stored in a shared counter.
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

// sweep removes what has expired, if it is time to.
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
