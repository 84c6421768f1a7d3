package trail

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// memory is a sink that keeps what it gets. While it is down, it fails; every third delivery it fails after it has kept the items.
type memory struct {
	mu    sync.Mutex
	down  bool
	calls int
	items []spool.Item
}

func (*memory) Name() string { return "memory" }

func (m *memory) Deliver(_ context.Context, items []spool.Item) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, errors.New("down")
	}
	m.items = append(m.items, items...)
	if m.calls++; m.calls%3 == 0 {
		return 0, errors.New("the confirmation is lost")
	}
	return len(items), nil
}

func (m *memory) set(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// kept returns the records of a sink without repetitions, after a verification.
func (m *memory) kept(t *testing.T) (list []*record.Record) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	key, err := note.NewVerifier(hashchain.VerifierKey(private().Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	v := verify.New(verify.Config{Keys: note.VerifierList(key), OnFinding: func(f verify.Finding) { t.Error(f) }})
	seen := map[string]bool{}
	for _, i := range m.items {
		switch i.Kind {
		case spool.Checkpoint:
			v.Checkpoint(i.Payload)
		case spool.Record:
			v.Record(i.Payload, hashchain.HashOf(i.Payload))
			r, err := record.Decode(i.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if !seen[r.ID.String()] {
				list = append(list, r)
			}
			seen[r.ID.String()] = true
		}
	}
	if s := v.Finish(); s.Unsigned > 0 {
		t.Errorf("%d records are not signed", s.Unsigned)
	}
	return list
}

func private() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

type fixture struct {
	t        *testing.T
	sink     *memory
	log      *safeBuffer
	registry *prometheus.Registry
	spool    spool.Spool
	change   func(*Config)
}

// safeBuffer is a buffer for concurrent use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newFixture(t *testing.T, limit int64) *fixture {
	return &fixture{t: t, sink: &memory{}, log: &safeBuffer{}, registry: prometheus.NewRegistry(), spool: spool.NewMemory(limit)}
}

func (f *fixture) open() *Trail {
	f.t.Helper()
	m, err := NewMetrics(f.registry)
	if err != nil {
		f.t.Fatal(err)
	}
	signer, err := hashchain.NewSigner(private())
	if err != nil {
		f.t.Fatal(err)
	}
	c := Config{
		Policy: "shop/orders", Pod: "orders-1", Categories: record.Categories(), Spool: f.spool, Sinks: []Sink{f.sink},
		Keys:    func(context.Context) (Keys, error) { return Keys{Signer: signer}, nil },
		Metrics: m, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if f.change != nil {
		f.change(&c)
	}
	trail, err := Open(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return trail
}

func (f *fixture) close(trail *Trail) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := trail.Close(ctx); err != nil {
		f.t.Fatal(err)
	}
}

func login(n int) event.Event {
	return event.Event{Kind: event.Login, Outcome: event.Success, Time: time.Unix(int64(n), 0), Policy: "shop/orders", Actor: event.Actor{Subject: fmt.Sprint("user", n)}}
}

// counter returns the sum of a counter.
func (f *fixture) counter(name string) (sum float64) {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// TestEveryEventIsAccountedFor: a sink that is down at the start, at the end and in between, and that loses confirmations, has every event
// once, and the chain verifies; what was dropped is counted, and is a record.
func TestEveryEventIsAccountedFor(t *testing.T) {
	f := newFixture(t, 64<<10)
	f.sink.set(true)
	trail := f.open()
	const total = 30_000
	for n := range total {
		trail.Record(login(n))
		if n == total/2 {
			eventually(t, "a full spool", trail.Full)
		}
		if n == total*2/3 {
			f.sink.set(false)
			eventually(t, "room", func() bool { return !trail.Full() })
		}
	}
	f.close(trail)
	logins, dropped := 0, uint64(0)
	for _, r := range f.sink.kept(t) {
		switch r.Action {
		case "login":
			logins++
		case "audit_dropped":
			dropped += max(r.Count, 1)
		}
	}
	if dropped == 0 || logins+int(dropped) != total {
		t.Errorf("%d logins and %d dropped; want %d", logins, dropped, total)
	}
	if got := f.counter("postern_audit_dropped_total"); got != float64(dropped) {
		t.Errorf("the metric says %v dropped, the trail %d", got, dropped)
	}
	if text := f.log.String(); !strings.Contains(text, "audit sink unavailable") || !strings.Contains(text, "audit sink available again") || !strings.Contains(text, "events are missing") {
		t.Errorf("the log has %s", text)
	}
}

// TestFields: a record has what the event has.
func TestFields(t *testing.T) {
	f := newFixture(t, 1<<20)
	trail := f.open()
	changes := event.Changes{"role": {Before: []byte(`"user"`), After: []byte(`"admin"`)}}
	e := event.Event{
		Kind: event.Lifecycle, Outcome: event.Success, Time: time.Unix(7, 123456789), Policy: "shop/orders", Actor: event.Actor{Provider: "corp", Issuer: "https://id", Subject: "bob", Session: "s", TokenID: "t"},
		PerformedBy: "ada", Resource: event.Resource{Kind: "user", ID: "42", Action: event.Update}, Changes: &changes, RequestID: "r", TraceID: "4bf92f", UserAgent: "curl", ClientAddr: netip.MustParseAddr("192.0.2.1"),
	}
	trail.Record(e)
	trail.Record(event.Event{Kind: event.TokenVerified}) // each request has one
	f.close(trail)
	list := f.sink.kept(t)
	if len(list) != 1 {
		t.Fatalf("%d records", len(list))
	}
	encoded, err := list[0].Encode()
	want := `"category":"Lifecycle","action":"UPDATE","outcome":"success","performed_by":"ada","subject":"bob","provider":"corp","issuer":"https://id","session":"s","token_id":"t",` +
		`"resource":{"kind":"user","id":"42"},"changes":{"role":{"before":"user","after":"admin"}},"ip_address":"192.0.2.1","user_agent":"curl","request_id":"r","trace_id":"4bf92f","policy":"shop/orders","pod":"orders-1"}`
	if err != nil || !strings.HasSuffix(string(encoded), want) || !strings.Contains(string(encoded), `"time":"1970-01-01T00:00:07.123456Z"`) {
		t.Errorf("%s, %v; want … %s", encoded, err, want)
	}
}

// TestFloods: what anybody can cause has a bounded number of records, which say how many events they stand for, and takes no room from others.
func TestFloods(t *testing.T) {
	f := newFixture(t, 1<<20)
	f.sink.set(true)
	trail := f.open()
	const total = 50_000
	for n := range total {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		if n%2 == 0 {
			addr = netip.MustParseAddr("192.0.2.1")
		}
		trail.Record(event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: "expired", Time: time.Unix(int64(n), 0), Policy: "shop/orders", ClientAddr: addr})
	}
	if trail.Full() {
		t.Error("refused tokens have filled the trail")
	}
	trail.Record(login(1))
	f.sink.set(false)
	f.close(trail)
	refused, records, logins := uint64(0), 0, 0
	for _, r := range f.sink.kept(t) {
		switch r.Action {
		case "token_refused":
			refused += max(r.Count, 1)
			records++
		case "login":
			logins++
		}
	}
	if refused != total || records > 4*floodSources || logins != 1 {
		t.Errorf("%d refused in %d records, %d logins", refused, records, logins)
	}
}

// TestCheckpointsFail: without the signing key the trail goes on, and is signed later.
func TestCheckpointsFail(t *testing.T) {
	f := newFixture(t, 1<<20)
	var away sync.Mutex
	failing := true
	f.change = func(c *Config) {
		c.CheckpointInterval = time.Millisecond
		signer := hashchain.RemoteSigner{Public: private().Public().(ed25519.PublicKey), SignWith: func(message []byte) ([]byte, error) {
			away.Lock()
			defer away.Unlock()
			if failing {
				return nil, errors.New("vault is away")
			}
			return ed25519.Sign(private(), message), nil
		}}
		c.Keys = func(context.Context) (Keys, error) { return Keys{Signer: signer}, nil }
	}
	trail := f.open()
	trail.Record(login(1))
	eventually(t, "failures", func() bool { return f.counter("postern_audit_checkpoint_failures_total") > 1 })
	away.Lock()
	failing = false
	away.Unlock()
	trail.Record(login(2))
	f.close(trail)
	if got := len(f.sink.kept(t)); got != 2 {
		t.Errorf("%d records", got)
	}
	if text := f.log.String(); strings.Count(text, "not signed at present") != 1 || !strings.Contains(text, "signed again") {
		t.Errorf("the log has %s", text)
	}
}

// TestClosingWhileTheSinkIsDown ends in time, and says what is lost.
func TestClosingWhileTheSinkIsDown(t *testing.T) {
	f := newFixture(t, 4<<10)
	f.sink.set(true)
	trail := f.open()
	eventually(t, "a full spool", func() bool {
		trail.Record(login(1))
		return trail.Full()
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := trail.Close(ctx); err == nil {
		t.Error("closed without an error")
	}
	if text := f.log.String(); !strings.Contains(text, "records of the audit trail are lost") {
		t.Errorf("the log has %s", text)
	}
}

// TestNextProcessDelivers: what a process leaves on its volume is delivered by the next, which removes it. A process that is alive keeps its own.
func TestNextProcessDelivers(t *testing.T) {
	base := t.TempDir()
	sink := &memory{down: true}
	open := func(name string) (*fixture, *Trail) {
		own, left, err := spool.OpenDirectory(base, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, 0)
		f.sink, f.spool = sink, own
		f.change = func(c *Config) {
			for _, l := range left {
				c.Left = append(c.Left, l)
			}
		}
		return f, f.open()
	}
	record := func(f *fixture, trail *Trail) {
		trail.Record(login(1))
		eventually(t, "the record", func() bool { return f.counter("postern_audit_spool_bytes") > 0 })
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for n := range 2 {
		f, trail := open(fmt.Sprint("process", n))
		record(f, trail)
		if err := trail.Close(ended); err == nil {
			t.Fatal("closed although the sink is down")
		}
	}
	alive, second := open("alive")
	record(alive, second)
	last, third := open("last")
	record(last, third)
	sink.set(false)
	alive.close(second)
	last.close(third)
	eventually(t, "an empty directory", func() bool {
		left, err := os.ReadDir(base)
		return err == nil && len(left) == 0
	})
	if got := len(sink.kept(t)); got != 4 {
		t.Errorf("%d records", got)
	}
}

// TestKeysComeLater: nothing is recorded without the keys, and nothing is lost.
func TestKeysComeLater(t *testing.T) {
	f := newFixture(t, 1<<20)
	asked, come := make(chan struct{}, 9), make(chan struct{})
	f.change = func(c *Config) {
		keys := c.Keys
		c.Keys = func(ctx context.Context) (Keys, error) {
			asked <- struct{}{}
			select {
			case <-come:
				return keys(ctx)
			default:
				return Keys{}, errors.New("the Secret is not mounted")
			}
		}
	}
	trail := f.open()
	trail.Record(login(1))
	<-asked
	if n := f.counter("postern_audit_records_total"); n != 0 {
		t.Errorf("%v records without keys", n)
	}
	close(come)
	<-asked
	f.close(trail)
	if got := len(f.sink.kept(t)); got != 1 || !strings.Contains(f.log.String(), "waits for its keys") {
		t.Errorf("%d records, log %s", got, f.log.String())
	}
}
