package drain

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgres"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

var shared *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m, &shared)) }

// fixed is a secret source.
type fixed string

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New([]byte(f)), nil }

// world is a database, with trails that append to Redis and drains that empty it.
type world struct {
	t        *testing.T
	server   *postgrestest.Server
	db       *auditsqltest.Database
	pool     *postgres.Pool
	redis    redis.Config
	registry *prometheus.Registry
	metrics  *Metrics
	// trails are the metrics of each trail, by policy.
	trails map[string]*prometheus.Registry
	keys   *personal.Keys
	log    *slog.Logger
}

func newWorld(t *testing.T, server *postgrestest.Server, c redis.Config) *world {
	t.Helper()
	w := &world{t: t, server: server, db: auditsqltest.New(t, server), redis: c, registry: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler), trails: map[string]*prometheus.Registry{}}
	user, password := server.User(t, "postern_audit_writer")
	metrics, err := postgres.NewMetrics(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	w.pool, err = postgres.Open(postgres.Config{
		Address: server.Addr, Name: w.db.Name, TLS: postgres.Disable, Timeout: 5 * time.Second,
		Credentials: postgres.Login{User: user, Password: fixed(password)},
	}, metrics, w.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	if w.metrics, err = NewMetrics(w.registry); err != nil {
		t.Fatal(err)
	}
	if w.keys, err = personal.Derive(secret.New(bytes.Repeat([]byte{7}, 32))); err != nil {
		t.Fatal(err)
	}
	return w
}

// connect opens a connection as user; the default user if it is empty.
func (w *world) connect(user, password string) *redis.Conn {
	w.t.Helper()
	metrics, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.redis
	if user != "" {
		c.Username, c.Password = user, fixed(password)
	}
	c.ProbeKey, c.Timeout = ProbeKey(), 2*time.Second
	conn, err := redis.Open(c, metrics, w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	redistest.Eventually(w.t, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

// open opens a trail that appends to the stream of the namespace shop. room is the bound of its spool, in bytes.
func (w *world) open(policy string, conn stream.Conn, room int64) *trail.Trail {
	w.t.Helper()
	sink, err := stream.New(stream.Config{Conn: conn, Namespace: "shop", RetainDays: 400})
	if err != nil {
		w.t.Fatal(err)
	}
	signer, err := hashchain.NewSigner(w.keys.Signing())
	if err != nil {
		w.t.Fatal(err)
	}
	w.trails[policy] = prometheus.NewRegistry()
	metrics, err := trail.NewMetrics(w.trails[policy])
	if err != nil {
		w.t.Fatal(err)
	}
	opened, err := trail.Open(trail.Config{
		Policy: policy, Pod: "orders-1", Categories: record.Categories(), Spool: spool.NewMemory(room), Sinks: []trail.Sink{sink},
		Keys: func(context.Context) (trail.Keys, error) { return trail.Keys{Signer: signer}, nil }, CheckpointInterval: 100 * time.Millisecond, Metrics: metrics, Logger: w.log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return opened
}

func (w *world) close(opened *trail.Trail) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// drain runs a drain until the test ends or stop is called, which waits for the batches in hand.
func (w *world) drain(consumer string, conn Conn, change func(*Config)) (stop func()) {
	w.t.Helper()
	c := Config{
		Conn: conn, Database: w.pool, Consumer: consumer, Metrics: w.metrics, Logger: w.log, Writers: 2, Abandoned: time.Second,
		Scan: 100 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	d, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	d.idle = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(stop)
	return stop
}

func login(policy string, n int) event.Event {
	return event.Event{Kind: event.Login, Outcome: event.Success, Time: time.Unix(1_800_000_000+int64(n), 0), Policy: policy, Actor: event.Actor{Issuer: "https://id", Subject: fmt.Sprint("user", n)}}
}

// fill appends the records of n events to the stream, through a trail.
func (w *world) fill(conn stream.Conn, n int) {
	w.t.Helper()
	opened := w.open("shop/orders", conn, 16<<20)
	for i := range n {
		opened.Record(login("shop/orders", i))
	}
	w.close(opened)
}

// rows returns the number of records in the database.
func (w *world) rows() (n int) {
	w.t.Helper()
	conn := w.server.Connect(w.t, w.db.Name)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM audit_logs").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// verified reads the trail, and returns the findings.
func (w *world) verified() (found []string, summary verify.Summary) {
	w.t.Helper()
	key, err := note.NewVerifier(hashchain.VerifierKey(w.keys.Signing().Public().(ed25519.PublicKey)))
	if err != nil {
		w.t.Fatal(err)
	}
	v := verify.New(verify.Config{Keys: note.VerifierList(key), OnFinding: func(f verify.Finding) { found = append(found, f.String()) }})
	conn := w.server.Connect(w.t, w.db.Name)
	defer conn.Close(context.Background())
	err = rows.Chained(w.t.Context(), conn, func(r rows.Row) error {
		r.Verify(v)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found, v.Finish()
}

// faulty is a database with faults.
type faulty struct {
	rows.Database
	mu sync.Mutex
	// err is returned in place of the result; nil for none. If after is true, the work is done before.
	err   error
	after bool
	// done is called after each batch that was written.
	done func()
}

func (f *faulty) set(err error, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.after = err, after
}

func (f *faulty) Do(ctx context.Context, g func(context.Context, *pgx.Conn) error) error {
	f.mu.Lock()
	fault, after := f.err, f.after
	f.mu.Unlock()
	if fault != nil && !after {
		return fault
	}
	err := f.Database.Do(ctx, g)
	if err == nil && f.done != nil {
		f.done()
	}
	if err == nil {
		err = fault
	}
	return err
}
