// Package inflight counts requests in progress. Each request holds a place under each of its keys, as a lease that the Keeper of its
// process renews: the places of a process that was killed are free when their lease ends.
package inflight

import (
	"context"
	"time"
)

// Lease is how long a place is held without being renewed.
const Lease = 30 * time.Second

// Store holds places. There are two implementations: inflightredis, shared by all replicas, and inflightmemory, for one process. In a
// Redis cluster all keys of one call must share a hash tag, as the keys of one policy do.
type Store interface {
	// Acquire takes a place for the request id under every key, in one atomic step. If the key of an enforced Ask (Shadow is false)
	// is full, none is taken. Otherwise one is taken under every key that is not full. Keys must be distinct. The results say which
	// keys were not full, in the order of asks. After an error it is unknown whether places were taken.
	Acquire(ctx context.Context, id string, lease time.Duration, asks []Ask) (free []bool, err error)
	// Renew makes places end after a whole lease from now. It takes those that the store no longer has, also beyond the maximum.
	Renew(ctx context.Context, lease time.Duration, places []Place) error
	// Release ends places. It is no error if the store does not have one.
	Release(ctx context.Context, places []Place) error
}

// Ask asks for a place.
type Ask struct {
	Key string
	// Max is the number of places that the key has, at least 1.
	Max int
	// Shadow never prevents the other places from being taken.
	Shadow bool
}

// Place is the place of one request under one key.
type Place struct{ Key, ID string }

// Refused reports whether an enforced key was full, so that no place was taken.
func Refused(asks []Ask, free []bool) bool {
	for i := range asks {
		if !free[i] && !asks[i].Shadow {
			return true
		}
	}
	return false
}
