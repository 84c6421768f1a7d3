package ratelimitredis

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/store/breaker"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

const concurrent = 40

// TestAnOutageOpensTheBreakerAtOnce: the writes that run at a time are as many as open the breaker.
func TestAnOutageOpensTheBreakerAtOnce(t *testing.T) {
	if maxRunning != breaker.Threshold {
		t.Errorf("%d writes run at a time; the breaker opens after %d failures", maxRunning, breaker.Threshold)
	}
}

// takeConcurrently takes concurrent requests of a limit of half as many, and returns the number of allowed ones and the errors.
// While they wait, it calls during.
func takeConcurrently(t *testing.T, store *Store, during func()) (allowed int, failed []error) {
	t.Helper()
	requests := []ratelimit.Request{{Key: keyspace.New("batch", "shop/orders").Key("k"), Rate: gcra.Rate{Emission: time.Hour, Burst: concurrent / 2}}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range concurrent {
		wg.Go(func() {
			results, err := store.Take(t.Context(), requests)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
			} else if results[0].Allowed {
				allowed++
			}
		})
	}
	during()
	wg.Wait()
	return allowed, failed
}

// waiting returns the number of calls in the queue, and of writes.
func (b *batcher) waiting() (queued, running int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue), b.running
}

// TestConcurrentCallsShareAWrite: the calls that wait while Redis is slow go in one write, and each is counted once.
func TestConcurrentCallsShareAWrite(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]bool{"the script is known": false, "the script is unknown": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			store := New(connect(t, standalone(server)))
			if _, err := store.Peek(t.Context(), []ratelimit.Request{{Key: "warm", Rate: gcra.Rate{Emission: time.Second, Burst: 1}}}); err != nil {
				t.Fatal(err)
			}
			if flush {
				server.Do("SCRIPT", "FLUSH")
			}
			before := stat(t, server, "total_commands_processed")
			server.Pause()
			allowed, failed := takeConcurrently(t, store, func() {
				redistest.Eventually(t, "the others to wait", func() bool {
					queued, running := store.batches.waiting()
					return queued == concurrent-maxRunning && running == maxRunning
				})
				server.Resume()
			})
			if len(failed) > 0 || allowed != concurrent/2 {
				t.Errorf("%d are allowed; want %d: %v", allowed, concurrent/2, failed)
			}
			if stat(t, server, "total_commands_processed") < before+concurrent {
				t.Error("fewer commands than calls")
			}
			if queued, running := store.batches.waiting(); queued != 0 || running != 0 {
				t.Errorf("%d calls wait and %d writes run at the end", queued, running)
			}
		})
	}
}

// TestOneCallIsOneRead: a call has one round trip, and calls that wait together take fewer than one each.
func TestOneCallIsOneRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)))
	requests := []ratelimit.Request{{Key: keyspace.New("batch", "shop/orders").Key("k"), Rate: gcra.Rate{Emission: time.Microsecond, Burst: 1000}}}
	take := func() {
		if _, err := store.Take(t.Context(), requests); err != nil {
			t.Fatal(err)
		}
	}
	take() // loads the script
	before := stat(t, server, "total_reads_processed")
	for range 20 {
		take()
	}
	// INFO is a read as well, and the monitor of the connection may have asked something.
	if reads := stat(t, server, "total_reads_processed") - before; reads < 20 || reads > 30 {
		t.Errorf("%v reads for 20 calls", reads)
	}
	before = stat(t, server, "total_reads_processed")
	server.Pause()
	_, failed := takeConcurrently(t, store, func() {
		redistest.Eventually(t, "the others to wait", func() bool { queued, _ := store.batches.waiting(); return queued == concurrent-maxRunning })
		server.Resume()
	})
	if reads := stat(t, server, "total_reads_processed") - before; len(failed) > 0 || reads > concurrent/2 {
		t.Errorf("%v reads for %d calls at a time: %v", reads, concurrent, failed)
	}
}

// TestCallsThatWaitFail: in an outage every call fails as unavailable, whether it was sent or waited, and the store recovers.
func TestCallsThatWaitFail(t *testing.T) {
	t.Parallel()
	outages := map[string]struct{ begin, end func(*redistest.Server) }{
		"Redis hangs":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"Redis is off": {(*redistest.Server).Stop, (*redistest.Server).Restart},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			c := standalone(server)
			c.Timeout = 200 * time.Millisecond
			store := New(connect(t, c))
			outage.begin(server)
			allowed, failed := takeConcurrently(t, store, func() {})
			if allowed != 0 || len(failed) != concurrent {
				t.Errorf("%d are allowed and %d failed; want all to fail", allowed, len(failed))
			}
			for _, err := range failed {
				if !errors.Is(err, redis.ErrUnavailable) {
					t.Errorf("%v; want ErrUnavailable", err)
				}
			}
			outage.end(server)
			redistest.Eventually(t, "the store to recover", func() bool {
				_, err := store.Take(t.Context(), []ratelimit.Request{{Key: "after", Rate: gcra.Rate{Emission: time.Microsecond, Burst: 1000}}})
				return err == nil
			})
			if queued, running := store.batches.waiting(); queued != 0 || running != 0 {
				t.Errorf("%d calls wait and %d writes run at the end", queued, running)
			}
		})
	}
}
