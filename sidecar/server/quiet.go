package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// lookTime is the pause between two looks, and quietBytes the most that may be allocated meanwhile for the sidecar to be quiet.
	lookTime   = 250 * time.Millisecond
	quietBytes = 64 << 10
	// worthBytes is how much must have been allocated for a collection to be worth its time.
	worthBytes = 4 << 20
	// collectShare bounds the time of collections: each may take one part in as many.
	collectShare = 100
)

// quiet gives memory back once there is little to do. A process with a memory limit collects garbage seldom (gcPercent), so that what a burst
// of connections has used, garbage and large stacks, would stay resident until the next burst, or for minutes.
type quiet struct {
	// allocated is what the process had allocated at the last look, and collected what it had at the last collection, in bytes.
	allocated, collected uint64
	// rested is when the next collection may begin.
	rested time.Time
}

// due reports whether to collect now. allocated is what the process has allocated since its start, in bytes.
func (q *quiet) due(allocated uint64, now time.Time) bool {
	busy := allocated-q.allocated > quietBytes
	q.allocated = allocated
	return !busy && allocated-q.collected >= worthBytes && !now.Before(q.rested)
}

// done records a collection that has just ended.
func (q *quiet) done(now time.Time, took time.Duration) {
	q.collected, q.rested = q.allocated, now.Add(collectShare*took)
}

// run looks until ctx ends.
func (q *quiet) run(ctx context.Context) {
	ticker := time.NewTicker(lookTime)
	defer ticker.Stop()
	total := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if metrics.Read(total); !q.due(total[0].Value.Uint64(), time.Now()) {
			continue
		}
		began := time.Now()
		debug.FreeOSMemory()
		q.done(time.Now(), time.Since(began))
	}
}
