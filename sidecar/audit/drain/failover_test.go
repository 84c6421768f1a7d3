package drain

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestFailover: sidecars and writers follow the Sentinels to the new master, and what was replicated is written.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "s3cret", "s3cret-of-sentinel")
	w := newWorld(t, shared, redis.Config{
		Mode: redis.Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName, Password: fixed("s3cret"), SentinelPassword: fixed("s3cret-of-sentinel"),
	})
	opened := w.open("shop/orders", w.connect("", ""), 16<<20)
	const total = 3000
	record := func(from, to int) {
		for n := from; n < to; n++ {
			opened.Record(login("shop/orders", n))
		}
		redistest.Eventually(t, "the records to be appended", func() bool { return w.delivered("shop/orders") == to })
	}
	record(0, total/2)
	s.Master.Do("WAIT", 1, 5000)
	w.drain("a", w.connect("", ""), nil)
	redistest.Eventually(t, "the first rows", func() bool { return w.rows() > 0 })
	s.Master.Do("WAIT", 1, 5000)
	s.Master.Stop()
	record(total/2, total)
	w.close(opened)
	redistest.Eventually(t, "all rows", func() bool { return w.rows() == total })
	if found, summary := w.verified(); len(found) > 0 || summary.Repeated != 0 || summary.Unsigned != 0 {
		t.Errorf("%q, %+v", found, summary)
	}
}

// TestKilledBeforeTheTransaction: entries that a writer has read are in the stream until they are in the database.
func TestKilledBeforeTheTransaction(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	w.fill(w.connect("", ""), 20)
	down := &faulty{Database: w.pool}
	down.set(errors.New("away"), false)
	stop := w.drain("killed", w.connect("", ""), func(c *Config) { c.Database, c.Grace = down, time.Millisecond })
	redistest.Eventually(t, "the entries to be read", func() bool { return testutil.ToFloat64(w.metrics.pending.WithLabelValues("shop")) >= 20 })
	stop()
	w.drain("other", w.connect("", ""), nil)
	redistest.Eventually(t, "the rows", func() bool { return w.rows() == 20 })
}
