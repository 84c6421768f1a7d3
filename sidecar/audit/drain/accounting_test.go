package drain

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// mortal is a connection of a process that dies: after that, nothing reaches Redis.
type mortal struct {
	Conn
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Conn.Do(ctx, f)
}

func (m *mortal) Hold(ctx context.Context, key string, f func(context.Context, *goredis.Conn) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Conn.Hold(ctx, key, f)
}

// mortalDrain runs a drain that is killed after a transaction of it, before the entries are settled, as soon as deadly is true.
func (w *world) mortalDrain(deadly *atomic.Bool) (died <-chan struct{}) {
	w.t.Helper()
	conn := &mortal{Conn: w.connect("", "")}
	ctx, kill := context.WithCancel(context.Background())
	database := &faulty{Database: w.pool, done: func() {
		if deadly.Load() {
			conn.dead.Store(true)
			kill()
		}
	}}
	d, err := New(Config{
		Conn: conn, Database: database, Consumer: "mortal", Metrics: w.metrics, Logger: w.log, Abandoned: time.Second, Scan: 100 * time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.run(ctx, ctx)
	}()
	w.t.Cleanup(func() { kill(); <-done })
	return done
}

// TestAccounting: three sidecars write, two writers empty the stream. A writer is killed in the middle of a batch, PostgreSQL and Redis are
// killed and come back, and a sidecar is killed after its last append. Every event is a row, once, or was counted as dropped.
func TestAccounting(t *testing.T) {
	t.Parallel()
	postgres := postgrestest.Start(t, postgrestest.Options{})
	server := redistest.Start(t, redistest.Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	w := newWorld(t, postgres, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	const total = 2500 // of each sidecar
	policies := []string{"shop/orders", "shop/carts", "shop/killed"}
	killed := &mortal{Conn: w.connect("", "")}
	trails := []*trail.Trail{w.open(policies[0], w.connect("", ""), 64<<10), w.open(policies[1], w.connect("", ""), 16<<20), w.open(policies[2], killed, 16<<20)}
	var deadly atomic.Bool
	died := w.mortalDrain(&deadly)
	w.drain("survivor", w.connect("", ""), nil)
	record := func(from, to int) {
		for n := from; n < to; n++ {
			for i, policy := range policies {
				for i > 0 && trails[i].Full() {
					time.Sleep(time.Millisecond) // as requests that are refused; those of the first trail are not
				}
				trails[i].Record(login(policy, n))
			}
		}
	}
	record(0, total/5)
	redistest.Eventually(t, "the first rows", func() bool { return w.rows() > 0 })
	deadly.Store(true)
	record(total/5, 2*total/5)
	<-died
	postgres.Stop()
	record(2*total/5, 3*total/5)
	postgres.Restart(t)
	server.Stop()
	record(3*total/5, 4*total/5)
	const burst = 8000 // more than the first trail has room for
	for n := range burst {
		trails[0].Record(login(policies[0], total+n))
	}
	server.Restart()
	record(4*total/5, total)
	redistest.Eventually(t, "the last append of the sidecar that is killed", func() bool {
		return w.delivered(policies[2]) == total
	})
	killed.dead.Store(true)
	w.close(trails[0])
	w.close(trails[1])
	client := server.Client()
	defer client.Close()
	redistest.Eventually(t, "the stream to be empty", func() bool {
		n, err := client.XLen(t.Context(), stream.Key("shop")).Result()
		return err == nil && n == 0
	})
	w.check(map[string]int{policies[0]: total + burst, policies[1]: total, policies[2]: total})
}

// check compares the rows with the events.
func (w *world) check(events map[string]int) {
	w.t.Helper()
	if found, summary := w.verified(); len(found) > 0 || summary.Repeated != 0 || summary.Writers != 3 {
		w.t.Errorf("%q, %+v", found, summary)
	}
	conn := w.server.Connect(w.t, w.db.Name)
	defer conn.Close(context.Background())
	dropped := 0
	for policy, total := range events {
		var logins, distinct, said int
		err := conn.QueryRow(w.t.Context(), `SELECT count(*) FILTER (WHERE action = 'login'), count(DISTINCT id) FILTER (WHERE action = 'login'),
			coalesce(sum((record::json->>'count')::int) FILTER (WHERE action = 'audit_dropped'), 0) FROM audit_logs WHERE policy = $1`, policy).Scan(&logins, &distinct, &said)
		if err != nil {
			w.t.Fatal(err)
		}
		if logins != distinct || logins+said != total || said != w.counted("postern_audit_dropped_total", policy) {
			w.t.Errorf("%s: %d rows, %d different ones, %d dropped as the trail says, %d as the metric says; want %d events", policy, logins, distinct, said,
				w.counted("postern_audit_dropped_total", policy), total)
		}
		dropped += said
	}
	if dropped == 0 {
		w.t.Error("nothing was dropped, so this is not tested")
	}
	if n := testutil.ToFloat64(w.metrics.rejected.WithLabelValues("shop", "malformed")) + testutil.ToFloat64(w.metrics.rejected.WithLabelValues("shop", "refused")); n != 0 {
		w.t.Errorf("%v entries were rejected", n)
	}
}

// delivered returns the number of records of a policy that the stream has confirmed.
func (w *world) delivered(policy string) int {
	return w.counted("postern_audit_delivered_total", policy)
}

// counted returns the value of a counter of a policy's trail.
func (w *world) counted(name, policy string) int {
	w.t.Helper()
	families, err := w.trails[policy].Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	return 0
}
