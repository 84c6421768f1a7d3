package loginprotection

import (
	"context"
	"time"
)

// Store counts attempts and keeps what replicas share. There are two implementations: loginprotectionredis, shared by all replicas, and
// loginprotectionmemory, for one process. In a Redis cluster all keys of one call must share a hash tag, as the keys of one
// keyspace.Keyspace do.
type Store interface {
	// Begin decides on all counters of an attempt in one atomic step. If one of them is locked or used up, nothing is counted. Otherwise the
	// attempt is pending under each: it counts as a failure until End, or for PendingFor if End is never called.
	Begin(ctx context.Context, counters []Counter) (Begun, error)
	// End ends a pending attempt in one atomic step, with an outcome for each counter. It reports which of them are locked by it,
	// and which of those without a lock are used up by it.
	End(ctx context.Context, counters []Counter, outcomes []Outcome) (locked []bool, err error)
	// Look returns the states of counters, and changes nothing.
	Look(ctx context.Context, counters []Counter) ([]State, error)
	// Put stores a value under a key for a time. With absent it stores it only if there is none. It returns what is stored then.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration, absent bool) ([]byte, error)
	// Get returns the value of a key, or nil.
	Get(ctx context.Context, key string) ([]byte, error)
}

// PendingFor is how long an attempt whose end is never reported counts as a failure.
const PendingFor = time.Minute

// Counter counts the failures of one key within a sliding window.
type Counter struct {
	Key string
	// Limit is the number of failures within Within that are allowed, at least 1.
	Limit  int
	Within time.Duration
	// LockFor is how long the key is locked after Limit failures: twice as long for each further lock, up to MaxLock. A lock is forgotten
	// MaxLock after its end. With 0 the key is never locked: an attempt is refused while there are Limit failures in the window.
	LockFor, MaxLock time.Duration
}

// Outcome is what an attempt means for a counter.
type Outcome byte

// The outcomes.
const (
	// Release: the attempt was neither a success nor a failure.
	Release Outcome = 'r'
	// Fail counts a failure.
	Fail Outcome = 'f'
	// Clear forgets all failures and locks.
	Clear Outcome = 'c'
	// Forget forgets all failures and locks, and ends no attempt: those in progress count on.
	Forget Outcome = 'x'
)

// State is what is counted under a key.
type State struct {
	// Failures is the number of failures within the window, and Latest the time of the last one; zero for none. Failures that led to a lock are
	// not among them.
	Failures int
	Latest   time.Time
	// Locks is the number of locks that are not forgotten, and Until the end of the last one; zero for none.
	Locks int
	Until time.Time
}

// Begun is the decision about an attempt.
type Begun struct {
	Allowed bool
	// Blocking is the index of the first counter that refuses the attempt, and Wait the time after which it may allow one.
	Blocking int
	Wait     time.Duration
	// Failures is the number of failures of the first counter, with those that locked it.
	Failures int
}
