package ratelimitmemory

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimittest"
)

func TestStore(t *testing.T) {
	ratelimittest.Run(t, func(*testing.T) ratelimit.Store { return New(Config{}) })
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) Now() time.Time { return c.at }

// fixture is a store with one key per shard.
type fixture struct {
	*testing.T
	*Store
	*clock
	log bytes.Buffer
}

func newFixture(t *testing.T, maxKeys int) *fixture {
	f := &fixture{T: t, clock: &clock{at: time.Unix(1e9, 0)}}
	f.Store = New(Config{MaxKeys: maxKeys, Now: f.Now, Log: slog.New(slog.NewTextHandler(&f.log, nil))})
	return f
}

func (f *fixture) take(key string, rate gcra.Rate) ratelimit.Result {
	f.Helper()
	results, err := f.Take(f.Context(), []ratelimit.Request{{Key: key, Rate: rate}})
	if err != nil {
		f.Fatal(err)
	}
	return results[0]
}

func (f *fixture) size() (keys, shared int) {
	for i := range f.shards {
		keys += len(f.shards[i].keys)
		shared += len(f.shards[i].shared)
	}
	return keys, shared
}

func TestFullStore(t *testing.T) {
	f := newFixture(t, shardCount)
	rate := gcra.Rate{Emission: time.Hour, Burst: 2}
	f.take("attacker", rate)
	f.take("attacker", rate)
	for i := range 100_000 {
		f.take(fmt.Sprint("made up ", i), rate)
	}
	if f.take("attacker", rate).Allowed {
		t.Error("filling the store gave a key without quota a new quota")
	}
	keys, shared := f.size()
	if keys > shardCount || shared > shardCount*sharedCount {
		t.Errorf("%d keys and %d shared counters", keys, shared)
	}
	if f.take("newcomer", rate).Allowed {
		t.Error("a new key passes although no shared counter has quota left")
	}
	if got := strings.Count(f.log.String(), "full"); got != 1 {
		t.Errorf("logged %d times: %s", got, f.log.String())
	}
	f.at = f.at.Add(3 * time.Hour)
	if got := f.take("newcomer", rate); !got.Allowed || got.Remaining != 1 {
		t.Errorf("after all quota is available again: %+v", got)
	}
}

func TestKeyKeepsItsSharedCount(t *testing.T) {
	f := newFixture(t, shardCount)
	short, long := gcra.Rate{Emission: time.Minute, Burst: 1}, gcra.Rate{Emission: time.Hour, Burst: 1}
	for i := range 1000 {
		f.take(fmt.Sprint("fills ", i), short)
	}
	f.take("shared", long)
	f.at = f.at.Add(2 * time.Minute)
	if f.take("shared", long).Allowed {
		t.Error("room in the store gave a key without quota a new quota")
	}
}

func TestRatesDoNotShareCounters(t *testing.T) {
	f := newFixture(t, shardCount)
	long, short := gcra.Rate{Emission: time.Hour, Burst: 1}, gcra.Rate{Emission: time.Second, Burst: 1}
	for i := range 100_000 {
		f.take(fmt.Sprint("made up ", i), long)
	}
	f.take("other", short)
	f.at = f.at.Add(time.Second)
	if !f.take("other", short).Allowed {
		t.Error("the used quota of one rate limits another rate")
	}
}

func TestExpiredKeysAreRemoved(t *testing.T) {
	f := newFixture(t, 1<<16)
	rate := gcra.Rate{Emission: time.Second, Burst: 1}
	for i := range 10_000 {
		f.take(fmt.Sprint(i), rate)
	}
	f.at = f.at.Add(2 * time.Minute)
	for i := range 1000 {
		f.take(fmt.Sprint("later ", i), rate)
	}
	if keys, _ := f.size(); keys > 1000 {
		t.Errorf("%d keys; want the expired ones removed", keys)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, limits := range []int{1, 3} {
		b.Run(fmt.Sprint(limits, " limits"), func(b *testing.B) {
			s := New(Config{})
			var requests []ratelimit.Request
			for i := range limits {
				requests = append(requests, ratelimit.Request{Key: fmt.Sprint("postern:ratelimit:{11:shop/orders}:", i), Rate: gcra.Rate{Emission: time.Microsecond, Burst: 1e6}})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Take(b.Context(), requests); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
