package server

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// What one connection and one request may take of memory, in bytes, as measured with half-sent heads and with streams that
// stay open, and with room to spare.
const (
	connectionMemory = 64 << 10
	requestMemory    = 192 << 10
)

// capacity is how many connections and requests the sidecar takes on at once: what its memory holds, so that a flood is
// refused and does not end the pod.
type capacity struct{ connections, requests int }

// Bounds of both, whatever the memory.
const (
	minCapacity = 64
	maxCapacity = 10000
)

// capacityFor returns the capacity of limit bytes of memory. Without a limit (GOMEMLIMIT) it is the highest.
func capacityFor(limit int64) capacity {
	of := func(each int64) int { return int(min(max(limit/each, minCapacity), maxCapacity)) }
	return capacity{connections: of(connectionMemory), requests: of(requestMemory)}
}

// hashMemory is what password hashes may take at once of limit bytes of memory, in KiB: half of it, and no more than is usual.
// Each is a block that cannot be given back before it is done, and a flood of logins is a flood of them.
func hashMemory(limit int64) uint32 { return uint32(min(limit/2>>10, password.DefaultMemory)) }

// memoryLimit is the process's GOMEMLIMIT, which the webhook sets by the container's limit.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// bounded refuses requests beyond limit at once, streams and upgraded connections among them, and tells refused.
func bounded(limit int, refused func(), next http.Handler) http.Handler {
	var inFlight atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer inFlight.Add(-1)
		if inFlight.Add(1) > int64(limit) {
			refused()
			httperr.Write(w, r, (&httperr.Error{
				Status: http.StatusServiceUnavailable, Code: "overloaded", Detail: "Too many requests are under way. Try again in a moment.",
			}).With("Retry-After", "1"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
