package server

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// requestMemory is the memory that one request may need, in bytes, measured with partially sent heads and with streams
// that stay open, plus a reserve.
const requestMemory = 192 << 10

// limits is the maximum number of requests at the same time. It follows from the memory, so that a flood is refused and
// does not kill the pod. Those of connections are in connections.go.
type limits struct{ requests int }

// Bounds of the limits, for any amount of memory.
const (
	minLimit = 64
	maxLimit = 10000
)

// limitsFor returns the limits for an amount of memory in bytes. If the process has no limit (GOMEMLIMIT), they are
// the highest.
func limitsFor(memory int64) limits {
	of := func(each int64) int { return int(min(max(memory/each, minLimit), maxLimit)) }
	return limits{requests: of(requestMemory)}
}

// hashMemory returns the memory for all password hashes in progress, in KiB: half of memory, and at most the default.
// A hash needs its memory until it is done, and a flood of logins is a flood of hashes.
func hashMemory(memory int64) uint32 { return uint32(min(memory/2>>10, password.DefaultMemory)) }

// memoryLimit returns the process's GOMEMLIMIT, which the webhook sets from the container's limit.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// bounded refuses requests beyond limit, and calls refused for each of them. Streams and upgraded connections count
// as long as they are open.
func bounded(limit int, refused func(), next http.Handler) http.Handler {
	var inFlight atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer inFlight.Add(-1)
		if inFlight.Add(1) > int64(limit) {
			refused()
			httperr.Write(w, r, (&httperr.Error{
				Status: http.StatusServiceUnavailable, Code: "overloaded", Detail: "Too many requests are in progress. Try again in a moment.",
			}).With("Retry-After", "1"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
