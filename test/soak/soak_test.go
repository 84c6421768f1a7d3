// Package soak runs the sidecar's program under mixed traffic while the policy is reloaded, the app is restarted, the certificate is
// rotated and Redis fails. Each response must be what the faults of its time allow, the memory must stay flat, and nothing may be left open.
package soak

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

const (
	// shortest is the time of the test if SOAK_TIME names none.
	shortest = 16 * time.Second
	// warmUp is the part of the time that passes before anything is compared.
	warmUp = 8
	// samples is how often the memory is read.
	samples = 80
	// long is a time after which the heap no longer grows.
	long = 3 * time.Minute
	// maxPause bounds the pause between two faults.
	maxPause = 5 * time.Second
)

// What may be left after the traffic, beyond what was there after the warm-up: a request of the long poll, or a timer, may be in progress.
const slackHeld = 2

// growth is how much more memory, in KiB, the last quarter may have than the second: the faults of the two differ, and the garbage collector
// lets the heap grow to a multiple of what is live. In a short run the heap still grows to that, so only a gross leak is found.
func growth(second int, lasts time.Duration) int {
	if raced || lasts < long {
		return second + 16<<10
	}
	return second/10 + 8<<10
}

// TestSoak is short, unless SOAK_TIME says how long it lasts: make soak.
func TestSoak(t *testing.T) {
	lasts := shortest
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, 11)
	defer func() {
		if t.Failed() {
			t.Logf("the last lines of the sidecar's log:\n%s", w.sidecar.log)
		}
	}()
	w.load(t, func(ctx context.Context) { rest(ctx, lasts/warmUp) })
	before := w.settled(t)
	pause := min(lasts/40, maxPause)
	var memory []use
	w.load(t, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lasts)
		defer cancel()
		var wait sync.WaitGroup
		wait.Go(func() { w.reload(ctx, min(lasts/20, maxPause)) })
		wait.Go(func() { memory = w.watch(ctx, t, lasts/samples) })
		w.schedule(ctx, t, pause)
		wait.Wait()
	})
	w.ledger.report(t, append(kinds(), traffic{name: "reloads"}, traffic{name: "lines of the log"}))
	if w.overLimit.Load() == 0 {
		t.Error("no request exceeded the limit")
	}
	checkMemory(t, memory, lasts)
	w.checkHeld(t, before)
	w.sidecar.stop(t)
}

// load runs do beside all traffic.
func (w *world) load(t *testing.T, do func(context.Context)) {
	t.Helper()
	w.connect(t)
	defer w.disconnect()
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	seed := uint64(0)
	for _, k := range kinds() {
		for range k.clients {
			seed++
			c := w.newClient(seed)
			wait.Go(func() { c.run(ctx, k) })
		}
	}
	do(ctx)
}

// run makes exchanges of one kind until ctx ends. The last one is complete.
func (c *client) run(ctx context.Context, k traffic) {
	defer c.close()
	for ctx.Err() == nil {
		begin := time.Now()
		c.ledger.record(k.name, begin, k.exchange(c))
		rest(ctx, time.Duration(c.random.Int64N(int64(60*time.Millisecond))))
	}
}

// watch reads the memory until ctx ends.
func (w *world) watch(ctx context.Context, t *testing.T, interval time.Duration) (memory []use) {
	for ; ctx.Err() == nil; rest(ctx, interval) {
		memory = append(memory, w.sidecar.memory(t))
	}
	return memory
}

// checkMemory compares the medians of the second and the last quarter.
func checkMemory(t *testing.T, memory []use, lasts time.Duration) {
	t.Helper()
	for name, of := range map[string]func(use) int{
		"anonymous": func(u use) int { return u.anonymous }, "live": func(u use) int { return u.live },
	} {
		quarters := quarters(memory, of)
		t.Logf("%s memory by quarter: %d KiB", name, quarters)
		if second, last := quarters[1], quarters[3]; last > second+growth(second, lasts) {
			t.Errorf("the %s memory has grown from %d to %d KiB; at most %d more are allowed", name, second, last, growth(second, lasts))
		}
	}
}

// quarters returns the median of each quarter.
func quarters(memory []use, of func(use) int) (medians [4]int) {
	for n := range medians {
		var part []int
		for _, u := range memory[n*len(memory)/4 : (n+1)*len(memory)/4] {
			part = append(part, of(u))
		}
		slices.Sort(part)
		medians[n] = part[len(part)/2]
	}
	return medians
}

// settled returns what the sidecar holds after it has closed the unused connections to the app, and nothing more ends for some time.
func (w *world) settled(t *testing.T) held {
	t.Helper()
	servertest.Eventually(t, "the connections to the app to be closed", func() bool { return w.app.open() == 0 })
	least, same := w.held(t), 0
	servertest.Eventually(t, "the sidecar to be idle", func() bool {
		now := w.held(t)
		if now.goroutines >= least.goroutines && now.descriptors >= least.descriptors {
			same++
			return same > 20
		}
		least, same = now, 0
		return false
	})
	return least
}

// checkHeld fails the test if the sidecar keeps more than before.
func (w *world) checkHeld(t *testing.T, before held) {
	t.Helper()
	after := w.held(t)
	for deadline := time.Now().Add(waitLimit); after.goroutines > before.goroutines+slackHeld || after.descriptors > before.descriptors+slackHeld; after = w.held(t) {
		if time.Now().After(deadline) {
			t.Errorf("the sidecar holds %+v after the traffic; before it held %+v", after, before)
			break
		}
		rest(t.Context(), 50*time.Millisecond)
	}
	t.Logf("held before %+v, after %+v", before, after)
}

// held reads what the sidecar holds.
func (w *world) held(t *testing.T) held {
	t.Helper()
	client := w.redis.Client()
	defer client.Close()
	clients, err := client.InfoMap(t.Context(), "clients").Result()
	if err != nil {
		t.Fatal(err)
	}
	return w.sidecar.holds(t, number(t, connected, clients["Clients"]["connected_clients"])-1)
}
