package server

import (
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/budget"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// The memory that one of each needs at most, in bytes, with a margin. test/attack measures it, and docs/security.md has the figures: a
// request at most needs an HTTP/2 stream whose body the app does not take and whose response the client does not read; a WebSocket needs
// 12 KiB in addition to its connection, and 8 KiB more while each end sends what the other does not take.
const (
	requestMemory = 208 << 10
	upgradeMemory = 28 << 10
)

// The parts of the memory that open requests and open WebSockets may take, in percent.
const (
	requestsPart = 30
	upgradesPart = 20
)

// limits are the maximum numbers of requests and upgraded connections at the same time. They follow from the memory, so that a flood
// is refused and does not kill the pod. Those of connections are in connections.go.
type limits struct{ requests, upgrades int }

// Bounds of the limits, for any amount of memory.
const (
	minLimit = 64
	maxLimit = 10000
)

// limitsFor returns the limits for an amount of memory in bytes. If the process has no limit (GOMEMLIMIT), they are
// the highest.
func limitsFor(memory int64) limits {
	of := func(part, each int64) int { return int(min(max(memory/each*part/100, minLimit), maxLimit)) }
	return limits{requests: of(requestsPart, requestMemory), upgrades: of(upgradesPart, upgradeMemory)}
}

// encoderMemory returns the memory for compressing responses, in bytes: a tenth.
func encoderMemory(memory int64) int64 { return memory / 10 }

// hashMemory returns the memory for all password hashes in progress, in KiB: half of memory, and at most the default.
// A hash needs its memory until it is done, and a flood of logins is a flood of hashes.
func hashMemory(memory int64) uint32 { return uint32(min(memory/2>>10, password.DefaultMemory)) }

// sessionMemory returns the memory for sessions that are not in Redis, in bytes: a tenth, and at most a gibibyte.
func sessionMemory(memory int64) int { return int(min(memory/10, 1<<30)) }

// memoryLimit returns the process's GOMEMLIMIT, which the webhook sets from the container's limit.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// gcPercent is the GOGC of a process with a memory limit. The heap is small next to the limit, so the collector may run less often; near
// the limit it runs as often as it must.
const gcPercent = 400

// tuneGC applies gcPercent, unless the environment sets GOGC or the process has no memory limit. It returns a function that restores the
// previous value.
func tuneGC(getenv func(string) string) (restore func()) {
	if getenv("GOGC") != "" || memoryLimit() == math.MaxInt64 {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	return func() { debug.SetGCPercent(before) }
}

// atMost refuses requests beyond limit.
func atMost(limit int, next http.Handler) http.Handler {
	all := budget.New(budget.Limits{Max: limit, MaxPerAddress: limit})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := all.Take(budget.Claim{}); why != "" {
			httperr.Write(w, r, refusal(why))
			return
		}
		defer all.Release(budget.Claim{})
		next.ServeHTTP(w, r)
	})
}

// within returns the limits that were asked for, 0 for the default, with at most allowed places.
func within(allowed, most, perAddress int) budget.Limits {
	if most <= 0 || most > allowed {
		most = allowed
	}
	if perAddress <= 0 {
		perAddress = (most + 1) / 2
	}
	return budget.Limits{Max: most, MaxPerAddress: perAddress}
}

// noteLimits logs limits of a class that the memory does not allow.
func noteLimits(memory limits, o *compiled.SidecarOptions, log *slog.Logger) {
	if r := o.Requests; r != nil && r.Max > memory.requests {
		log.Warn("the memory allows fewer open requests than requests.max: give the class more memory", "max", r.Max, "allowed", memory.requests)
	}
	if u := o.Upgrades; u != nil && u.Max > memory.upgrades {
		log.Warn("the memory allows fewer open WebSockets than upgrades.max: give the class more memory", "max", u.Max, "allowed", memory.upgrades)
	}
}
