package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const owner = "sidecar/audit/stream"

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

func connect(tb testing.TB, c redis.Config) *redis.Conn {
	tb.Helper()
	metrics, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	c.ProbeKey = statetest.ProbeKey
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	conn, err := redis.Open(c, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	redistest.Eventually(tb, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

func newSink(tb testing.TB, c Config) *Sink {
	tb.Helper()
	c.Namespace, c.RetainDays = "shop", 400
	sink, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return sink
}

// items returns n items with 500 bytes, from first on.
func items(first, n int) (list []spool.Item) {
	for i := range n {
		kind := []spool.Kind{spool.Record, spool.Checkpoint, spool.SubjectKey}[i%3]
		list = append(list, spool.Item{Kind: kind, Payload: fmt.Appendf(nil, "%0500d", first+i)})
	}
	return list
}

// kept returns what the stream of a server has.
func kept(tb testing.TB, server *redistest.Server) (list []Entry) {
	tb.Helper()
	messages, err := server.Client().XRange(context.Background(), Key("shop"), "-", "+").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range messages {
		e, err := Decode(m.Values)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// wantItems compares the entries with items(0, n).
func wantItems(tb testing.TB, got []Entry, n int) {
	tb.Helper()
	want := items(0, n)
	if len(got) != n {
		tb.Fatalf("%d entries; want %d", len(got), n)
	}
	for i, e := range got {
		if e.Item.Kind != want[i].Kind || string(e.Item.Payload) != string(want[i].Payload) || e.RetainDays != 400 {
			tb.Fatalf("entry %d is %+v", i, e)
		}
	}
}

// TestStore runs as the users of docs/state.md, which allow only what the page says.
func TestStore(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	run := func(t *testing.T, c redis.Config, master *redistest.Server, servers ...*redistest.Server) {
		page.Grant(t, c.Username, servers...)
		c.Password = password(statetest.Password)
		if _, err := newSink(t, Config{Conn: connect(t, c)}).Deliver(t.Context(), items(0, 600)); err != nil {
			t.Fatal(err)
		}
		page.Check(t, owner, nil, servers...)
		wantItems(t, kept(t, master), 600)
	}
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.Options{})
		run(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Username: statetest.Namespace}, server, server)
		page.CheckSizes(t, server, statetest.Units{"audit records on their way": 600})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, "s3cret")
		run(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs, Username: statetest.All}, cluster.Owner(Key("shop")), cluster.Nodes...)
	})
}

// TestBound: what has no room is refused as a whole, nothing that the stream has is removed, and what had room is not appended again.
func TestBound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	sink := newSink(t, Config{Conn: conn, MaxLength: 1000})
	if _, err := sink.Deliver(t.Context(), items(0, 600)); err != nil {
		t.Fatal(err)
	}
	left := items(600, 500)
	for _, want := range []int{250, 0, 0} {
		n, err := sink.Deliver(t.Context(), left)
		if !errors.Is(err, ErrFull) || n != want {
			t.Fatalf("Deliver = %d, %v; want %d, ErrFull", n, err, want)
		}
		left = left[n:]
	}
	wantItems(t, kept(t, server), 850)
	server.Do("DEL", Key("shop"))
	if _, err := sink.Deliver(t.Context(), items(850, 350)); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, server); len(got) != 350 || string(got[0].Item.Payload) != fmt.Sprintf("%0500d", 850) {
		t.Errorf("%d entries, the first is %.600s", len(got), got[0].Item.Payload)
	}
}

// TestMemoryBound: large records do not take more of Redis than the bound.
func TestMemoryBound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	sink := newSink(t, Config{Conn: conn, MaxBytes: 1 << 20})
	large := []spool.Item{{Kind: spool.Record, Payload: []byte(strings.Repeat("x", 32<<10))}}
	n := 0
	for err := error(nil); err == nil; n++ {
		if _, err = sink.Deliver(t.Context(), large); err != nil && !errors.Is(err, ErrFull) || n > 100 {
			t.Fatalf("Deliver = %v after %d items", err, n)
		}
	}
	if used := server.Do("MEMORY", "USAGE", Key("shop"), "SAMPLES", 0).(int64); n < 20 || used > 3<<19 {
		t.Errorf("%d items of 32 KiB use %d bytes", n, used)
	}
}

// TestOutage: an error is temporary. After a timeout fewer items are appended at once, so that too slow a connection does not fill the stream
// with copies.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	conn := connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Timeout: 200 * time.Millisecond})
	sink := newSink(t, Config{Conn: conn})
	server.Pause()
	if _, err := sink.Deliver(t.Context(), items(0, 500)); !errors.Is(err, redis.ErrUnavailable) || sink.chunk.Load() != maxChunk/2 {
		t.Errorf("Deliver = %v, chunk %d", err, sink.chunk.Load())
	}
	server.Resume()
	redistest.Eventually(t, "the items to be appended", func() bool { return delivers(t, sink, items(0, 500)) })
	server.Stop()
	if _, err := sink.Deliver(t.Context(), items(500, 100)); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("Deliver = %v", err)
	}
	server.Restart()
	redistest.Eventually(t, "the items to be appended", func() bool { return delivers(t, sink, items(500, 100)) })
	distinct := map[string]bool{}
	for _, e := range kept(t, server) {
		distinct[string(e.Item.Payload)] = true
	}
	if len(distinct) != 600 || sink.chunk.Load() <= maxChunk/2 {
		t.Errorf("%d different items, chunk %d", len(distinct), sink.chunk.Load())
	}
}

func delivers(t *testing.T, s *Sink, items []spool.Item) bool {
	_, err := s.Deliver(t.Context(), items)
	return err == nil
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	statetest.Read(t).Grant(t, statetest.Namespace, server)
	conn := connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Username: statetest.Namespace, Password: password(statetest.Password)})
	sink, err := New(Config{Conn: conn, Namespace: "billing", RetainDays: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Deliver(t.Context(), items(0, 1)); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("appending to another namespace: %v; want NOPERM", err)
	}
	read := conn.Do(t.Context(), func(ctx context.Context, client goredis.UniversalClient) error {
		return client.XRange(ctx, Key("shop"), "-", "+").Err()
	})
	if read == nil || !strings.Contains(read.Error(), "NOPERM") {
		t.Errorf("reading the records: %v; want NOPERM", read)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"a negative retention": {RetainDays: -1}, "too long a retention": {RetainDays: MaxRetainDays + 1}, "a small bound": {RetainDays: 1, MaxLength: minMaxLength - 1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := func() map[string]any { return map[string]any{"kind": "record", "retain": "400", "payload": "{}"} }
	if _, err := Decode(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"no kind":              func(f map[string]any) { delete(f, "kind") },
		"another kind":         func(f map[string]any) { f["kind"] = "else" },
		"no retention":         func(f map[string]any) { delete(f, "retain") },
		"a negative retention": func(f map[string]any) { f["retain"] = "-1" },
		"too long":             func(f map[string]any) { f["retain"] = "36501" },
		"no payload":           func(f map[string]any) { delete(f, "payload") },
		"a long payload":       func(f map[string]any) { f["payload"] = strings.Repeat("x", MaxPayload+1) },
	} {
		f := good()
		change(f)
		if e, err := Decode(f); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("record", "400", "{}")
	f.Fuzz(func(t *testing.T, kind, retain, payload string) {
		e, err := Decode(map[string]any{"kind": kind, "retain": retain, "payload": payload})
		if err == nil && (kinds[e.Item.Kind] != kind || e.RetainDays < 0 || string(e.Item.Payload) != payload) {
			t.Errorf("%q, %q: %+v", kind, retain, e)
		}
	})
}

func FuzzNamespace(f *testing.F) {
	f.Add(Key("shop"))
	f.Add("postern:audit:{9:shop}:6:stream")
	f.Add("postern:audit:{#")
	f.Fuzz(func(t *testing.T, key string) {
		if namespace, ok := Namespace(key); ok && (Key(namespace) != key || strings.Contains(namespace, "/")) {
			t.Errorf("%q is the namespace of %q", namespace, key)
		}
	})
}
