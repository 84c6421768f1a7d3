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

// limits are how many connections and requests the sidecar accepts at once: what its memory holds, so that a flood is refused
// and does not end the pod.
type limits struct{ connections, requests int }

// Bounds of both, whatever the memory.
const (
	minLimit = 64
	maxLimit = 10000
)

// limitsFor returns the limits for so many bytes of memory. Without a limit of the process (GOMEMLIMIT) they are the highest.
func limitsFor(memory int64) limits {
	of := func(each int64) int { return int(min(max(memory/each, minLimit), maxLimit)) }
	return limits{connections: of(connectionMemory), requests: of(requestMemory)}
}

// hashMemory is what all password hashes in progress may take of so many bytes of memory, in KiB: half of it, and at most the
// default. A hash holds its block until it is done, and a flood of logins is a flood of hashes.
func hashMemory(memory int64) uint32 { return uint32(min(memory/2>>10, password.DefaultMemory)) }

// memoryLimit is the process's GOMEMLIMIT, which the webhook sets from the container's limit.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// bounded refuses requests beyond limit, and calls refused for each. Streams and upgraded connections count for as long as they
// are open.
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
