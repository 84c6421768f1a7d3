package drain

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/audit/drain"

// TestStore runs as the user of docs/state.md, which allows only what the page says.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, master *redistest.Server, servers ...*redistest.Server) {
		w := newWorld(t, shared, c)
		page.Grant(t, statetest.All, servers...)
		page.Grant(t, statetest.AuditWriter, servers...)
		client := master.Client()
		defer client.Close()
		if err := client.XGroupCreateMkStream(t.Context(), stream.Key("shop"), Group, "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XGroupCreateConsumer(t.Context(), stream.Key("shop"), Group, "long-dead").Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream.Key("shop"), Values: []any{"kind", "else"}}).Err(); err != nil {
			t.Fatal(err)
		}
		stop := w.drain("a", w.connect(statetest.AuditWriter, statetest.Password), nil)
		w.fill(w.connect(statetest.All, statetest.Password), 30)
		redistest.Eventually(t, "the rows", func() bool {
			return w.rows() == 30 && testutil.ToFloat64(w.metrics.rejected.WithLabelValues("shop", "malformed")) == 1
		})
		redistest.Eventually(t, "the old consumer to be removed", func() bool {
			list, err := client.XInfoConsumers(t.Context(), stream.Key("shop"), Group).Result()
			return err == nil && len(list) < 2
		})
		stop()
		page.Check(t, owner, nil, servers...)
		if found, summary := w.verified(); len(found) > 0 || summary.Records != 30 || summary.Unsigned != 0 {
			t.Errorf("%q, %+v", found, summary)
		}
		if n := client.XLen(t.Context(), stream.Key("shop")).Val(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	}
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		run(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}}, server, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		run(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs}, cluster.Owner(stream.Key("shop")), cluster.Nodes...)
	})
}

// valid returns the JSON of a record.
func valid(t *testing.T, policy string) string {
	t.Helper()
	r := &record.Record{
		Version: 1, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Time: record.At(time.Unix(1_800_000_000, 0)),
		Category: record.Authentication, Action: "login", Outcome: "success", Policy: policy,
	}
	encoded, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// TestRejected: what the database cannot take is moved aside, and the rest of its batch is written.
func TestRejected(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	client := server.Client()
	defer client.Close()
	entries := []struct{ kind, retain, payload, want string }{
		{"record", "400", valid(t, "shop/orders"), ""},
		{"record", "400", "{", "decoding an audit record"},
		{"record", "400", valid(t, "billing/orders"), "not of the namespace shop"},
		{"record", "400", valid(t, "shop"), "not of the namespace shop"},
		{"record", "-1", valid(t, "shop/orders"), "retain"},
		{"else", "400", valid(t, "shop/orders"), "kind"},
		{"checkpoint", "400", "postern.dev/audit/shop/orders", "reading a checkpoint"},
		{"checkpoint", "400", "postern.dev/audit/billing/orders/" + uuid.NewString() + "\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— x", "not of the namespace shop"},
		{"subject-key", "400", "{}", "decoding the key of a subject"},
		{"record", "400", strings.Replace(valid(t, "shop/orders"), "login", "\xff", 1), "22021"},
		{"record", "30", valid(t, "shop/orders"), ""},
	}
	good, want := 0, map[string]string{}
	for _, e := range entries {
		id := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream.Key("shop"), Values: []any{"kind", e.kind, "retain", e.retain, "payload", e.payload}}).Val()
		if e.want == "" {
			good++
		} else {
			want[id] = e.want
		}
	}
	conn := w.connect("", "")
	w.drain("a", conn, nil)
	redistest.Eventually(t, "the stream to be empty", func() bool { return client.XLen(t.Context(), stream.Key("shop")).Val() == 0 })
	if n := w.rows(); n != good {
		t.Errorf("%d rows; want %d", n, good)
	}
	kept := client.XRange(t.Context(), stream.RejectedKey("shop"), "-", "+").Val()
	if len(kept) != len(want) {
		t.Errorf("%d entries are kept; want %d", len(kept), len(want))
	}
	for _, m := range kept {
		id, _ := m.Values["id"].(string)
		if reason, _ := m.Values["reason"].(string); want[id] == "" || !strings.Contains(reason, want[id]) {
			t.Errorf("%s is rejected: %s; want %s", id, reason, want[id])
		}
	}
	malformed, refused := testutil.ToFloat64(w.metrics.rejected.WithLabelValues("shop", "malformed")), testutil.ToFloat64(w.metrics.rejected.WithLabelValues("shop", "refused"))
	if int(malformed+refused) != len(want) || refused != 1 {
		t.Errorf("%v malformed, %v refused", malformed, refused)
	}
}

// TestRejectedWithoutMemory: a Redis without memory for rejected entries does not hold up the others.
func TestRejectedWithoutMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	client := server.Client()
	defer client.Close()
	for _, payload := range []string{"{", valid(t, "shop/orders")} {
		client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream.Key("shop"), Values: []any{"kind", "record", "retain", "400", "payload", payload}})
	}
	client.XGroupCreate(t.Context(), stream.Key("shop"), Group, "0")
	server.Do("CONFIG", "SET", "maxmemory", "1mb")
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	w.drain("a", w.connect("", ""), nil)
	redistest.Eventually(t, "the stream to be empty", func() bool { return client.XLen(t.Context(), stream.Key("shop")).Val() == 0 })
	if n, kept := w.rows(), client.Exists(t.Context(), stream.RejectedKey("shop")).Val(); n != 1 || kept != 0 {
		t.Errorf("%d rows, %d rejected", n, kept)
	}
}

// TestMetrics: the length, what is in hand and the age of the oldest entry are those of the stream, also while the database is away.
func TestMetrics(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	client := server.Client()
	defer client.Close()
	old := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	for range 3 {
		client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream.Key("shop"), ID: old + "-*", Values: []any{"kind", "record", "retain", "400", "payload", valid(t, "shop/orders")}})
	}
	down := &faulty{Database: w.pool}
	down.set(errors.New("away"), false)
	w.drain("a", w.connect("", ""), func(c *Config) { c.Database = down })
	redistest.Eventually(t, "the metrics", func() bool {
		lag := testutil.ToFloat64(w.metrics.lag.WithLabelValues("shop"))
		return testutil.ToFloat64(w.metrics.length.WithLabelValues("shop")) == 3 && testutil.ToFloat64(w.metrics.pending.WithLabelValues("shop")) == 3 &&
			lag >= 3600 && lag < 7200 && testutil.ToFloat64(w.metrics.bytes.WithLabelValues("shop")) > 500
	})
	down.set(nil, false)
	redistest.Eventually(t, "the metrics of an empty stream", func() bool {
		return testutil.ToFloat64(w.metrics.length.WithLabelValues("shop")) == 0 && testutil.ToFloat64(w.metrics.pending.WithLabelValues("shop")) == 0 &&
			testutil.ToFloat64(w.metrics.lag.WithLabelValues("shop")) == 0
	})
	if n := testutil.ToFloat64(w.metrics.written.WithLabelValues("shop")); n != 3 {
		t.Errorf("%v written", n)
	}
}

// TestExpired: a stream that has expired or was deleted, and is made again, is read again.
func TestExpired(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	conn := w.connect("", "")
	w.drain("a", conn, nil)
	w.fill(conn, 5)
	redistest.Eventually(t, "the rows", func() bool { return w.rows() == 5 })
	server.Do("DEL", stream.Key("shop"))
	w.fill(conn, 7)
	redistest.Eventually(t, "the rows of the new stream", func() bool { return w.rows() == 12 })
}

// TestFindsStreams: only the streams of this package are read, whatever else has the prefix.
func TestFindsStreams(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t, shared, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	client := server.Client()
	defer client.Close()
	for _, key := range []string{stream.Key("shop"), stream.Key("billing"), stream.RejectedKey("shop"), stream.Key("a/b"), "postern:audit:{}", "postern:audit:{9:shop}:6:stream"} {
		client.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: []any{"a", "b"}})
	}
	client.Set(t.Context(), stream.Key("text"), "x", 0)
	for i := range 3000 {
		client.Set(context.Background(), strings.Repeat("x", i), "x", 0)
	}
	d, err := New(Config{Conn: w.connect("", ""), Consumer: "a"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.find(t.Context())
	if err != nil || len(found) != 2 || found[stream.Key("shop")] != "shop" || found[stream.Key("billing")] != "billing" {
		t.Errorf("%v, %v", found, err)
	}
}
