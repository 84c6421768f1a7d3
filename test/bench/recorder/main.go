// Command recorder writes audit events to PostgreSQL for the bench, and prints what it cost: with the audit trail of a sidecar, or as it is
// often written by hand, with an INSERT for each event.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgres"
)

// policy is that of the events.
const policy = "shop/orders"

// settings say what is written, and where.
type settings struct {
	mode, address, database, user, password string
	events                                  int
	// rate is the number of events per second; as many as are taken if it is 0.
	rate int
}

// result is what is printed, as JSON. Seconds is the time until everything is in the database, and CPU that of this process, in seconds.
type result struct {
	Seconds, CPU float64
}

func main() {
	var s settings
	flag.StringVar(&s.mode, "mode", "", "trail or insert")
	flag.StringVar(&s.address, "address", "", "host:port of the database")
	flag.StringVar(&s.database, "database", "", "its name")
	flag.StringVar(&s.user, "user", "", "user, whose password is in PASSWORD")
	flag.IntVar(&s.events, "events", 20000, "number of events")
	flag.IntVar(&s.rate, "rate", 0, "events per second; 0 for as many as are taken")
	flag.Parse()
	s.password = os.Getenv("PASSWORD")
	write := map[string]func(context.Context, settings) error{"trail": byTrail, "insert": byInsert}[s.mode]
	if write == nil {
		fmt.Fprintln(os.Stderr, "recorder: -mode is trail or insert")
		os.Exit(1)
	}
	before, began := usedCPU(), time.Now()
	if err := write(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "recorder:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result{Seconds: time.Since(began).Seconds(), CPU: (usedCPU() - before).Seconds()})
}

// usedCPU returns the CPU time of this process, user and system.
func usedCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it has no other errors than a wrong argument
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// login is the event with number n. 5,000 users log in again and again.
func login(n int) event.Event {
	return event.Event{
		Kind: event.Login, Outcome: event.Success, Time: time.Now(), Policy: policy,
		Actor:     event.Actor{Issuer: "https://shop.example.com", Subject: fmt.Sprint("user-", n%5000), Session: "R2Nh2NCfMFwuIlXgQXAfNg", TokenID: fmt.Sprintf("%016x", n)},
		RequestID: "01a2270d-fb7d-7434-912c-1a79d6904e0c", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
		ClientAddr: netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}),
	}
}

// pace waits until event n is due.
func (s settings) pace(began time.Time, n int) {
	if s.rate > 0 && n%50 == 0 {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(s.rate))))
	}
}

// byTrail writes with the trail that a sidecar has: a hash chain, signed checkpoints, a spool, one connection.
func byTrail(ctx context.Context, s settings) error {
	registry, log := prometheus.NewRegistry(), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	metrics, err := postgres.NewMetrics(registry)
	if err != nil {
		return err
	}
	pool, err := postgres.Open(postgres.Config{
		Address: s.address, Name: s.database, TLS: postgres.Disable, Credentials: postgres.Login{User: s.user, Password: fixed(s.password)}, MaxConns: 2,
	}, metrics, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	t, err := open(pool, registry, log)
	if err != nil {
		return err
	}
	began := time.Now()
	for n := range s.events {
		s.pace(began, n)
		for s.rate == 0 && t.Full() {
			time.Sleep(time.Millisecond)
		}
		t.Record(login(n))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return t.Close(ctx)
}

func open(pool *postgres.Pool, registry *prometheus.Registry, log *slog.Logger) (*trail.Trail, error) {
	metrics, err := trail.NewMetrics(registry)
	if err != nil {
		return nil, err
	}
	keys, err := personal.Derive(secret.New(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		return nil, err
	}
	signer, err := hashchain.NewSigner(keys.Signing())
	if err != nil {
		return nil, err
	}
	return trail.Open(trail.Config{
		Policy: policy, Pod: "orders-1", Categories: record.Categories(), Spool: spool.NewMemory(64 << 20), Metrics: metrics, Logger: log,
		Sinks: []trail.Sink{rows.New(rows.Config{Database: pool, RetainDays: 400, OnRefused: func(_ spool.Item, err error) { log.Error("refused", "error", err) }})},
		Keys:  func(context.Context) (trail.Keys, error) { return trail.Keys{Signer: signer}, nil },
	})
}

// fixed is a password.
type fixed string

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New([]byte(f)), nil }

// errMode says that the peer was asked for what it cannot do.
var errMode = errors.New("the peer writes as fast as it can: leave -rate out")

// inserters is the number of connections of the peer, as many as a sidecar may have.
const inserters = 2

// byInsert writes one row for each event, with a prepared statement.
func byInsert(ctx context.Context, s settings) error {
	if s.rate != 0 {
		return errMode
	}
	errs := make(chan error, inserters)
	for part := range inserters {
		go func() { errs <- s.insert(ctx, part) }()
	}
	var err error
	for range inserters {
		err = cmp.Or(err, <-errs)
	}
	return err
}
