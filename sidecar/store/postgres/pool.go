package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/breaker"
)

const (
	// probeInterval is the pause between probes of an unavailable server.
	probeInterval = 500 * time.Millisecond
	// idleInterval is the pause between looks at the idle connections while the server is available.
	idleInterval = 5 * time.Second
)

// Pool is the shared pool of connections. It is safe for concurrent use.
type Pool struct {
	config  Config
	metrics *Metrics
	log     *slog.Logger
	pool    *pgxpool.Pool
	breaker breaker.Breaker
	last    atomic.Pointer[lastOutcome]
	// password is the one used last; it is removed from errors.
	password atomic.Pointer[secret.Value]

	wake chan struct{}
	stop context.CancelFunc
	wg   sync.WaitGroup
}

type lastOutcome struct{ err error }

// Status is the status of the database, for readiness and conditions.
type Status struct {
	// Up reports that the latest request got a reply and the breaker is closed.
	Up bool
	// Err is why Up is false: the error of a statement, or the cause of the outage.
	Err error
}

// ErrNotContacted is Status.Err of a pool whose first request has no outcome yet. It says nothing about the database.
var ErrNotContacted = errors.New("the database has not been contacted yet")

// Open returns a pool that connects in the background, so PostgreSQL may be unavailable. An error means that c is invalid.
func Open(c Config, metrics *Metrics, log *slog.Logger) (*Pool, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	settings, err := c.pool()
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Pool{config: c, metrics: metrics, log: log, wake: make(chan struct{}, 1), stop: stop}
	p.last.Store(&lastOutcome{err: ErrNotContacted})
	settings.BeforeConnect, settings.AfterConnect = p.logIn, p.loggedIn
	settings.PrepareConn = p.usable
	if p.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		stop()
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	metrics.add(p)
	p.wg.Go(func() { p.run(ctx) })
	return p, nil
}

// Do runs f with a connection within Config.Timeout. f must return errors of the connection with their cause, and leave no
// transaction open. If the error matches ErrUnavailable, the outcome is unknown. f does not keep the connection.
func (p *Pool) Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	if p.breaker.Open() {
		p.metrics.observe(open, 0)
		return errOpen
	}
	start := time.Now()
	found, err := p.attempt(ctx, f)
	p.metrics.observe(found, time.Since(start))
	return p.judge(found, err)
}

// attempt runs f with a connection.
func (p *Pool) attempt(ctx context.Context, f func(context.Context, *pgx.Conn) error) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		p.rejected(err)
		if found := classify(err, false); found != unavailable || !p.exhausted(err) {
			return found, err
		}
		return busy, fmt.Errorf("all %d connections are in use: %w", p.config.MaxConns, err)
	}
	defer conn.Release()
	err = f(ctx, conn.Conn())
	if denied(err) {
		_ = conn.Conn().Close(ctx) // the next login shows whether the user still exists
	}
	return classify(err, !conn.Conn().IsClosed()), err
}

// exhausted reports whether Acquire ran out of time because others use all connections.
func (p *Pool) exhausted(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && p.pool.Stat().AcquiredConns() == int32(p.config.MaxConns)
}

// judge records the outcome of a request, and returns the error for its caller.
func (p *Pool) judge(found outcome, err error) error {
	switch found {
	case answered:
		p.breaker.Succeed()
		if p.last.Load().err != nil {
			p.last.Store(&lastOutcome{})
		}
		return err
	case gone:
		return err
	case refused:
		p.breaker.Succeed()
		p.last.Store(&lastOutcome{err: err})
		return err
	}
	failed := &outage{cause: p.scrub(err.Error())}
	if found == busy {
		return failed
	}
	p.last.Store(&lastOutcome{err: failed})
	if found == readOnly {
		p.pool.Reset() // the name may lead to another server by now
	}
	if found == readOnly && p.breaker.Trip() || found != readOnly && p.breaker.Fail() {
		p.log.Warn("the database is unavailable; no statements are sent until a probe succeeds", "address", p.config.Address, "error", failed)
		p.look()
	}
	return failed
}

// scrub removes the password from the text of an error. The library writes none, but a server could.
func (p *Pool) scrub(text string) string {
	if used := p.password.Load(); used != nil && !used.IsZero() {
		text = strings.ReplaceAll(text, string(used.Reveal()), "[redacted]")
	}
	return text
}

// Status returns the current status.
func (p *Pool) Status() Status {
	err := p.last.Load().err
	if err == nil && p.breaker.Open() {
		err = errOpen
	}
	return Status{Up: err == nil, Err: err}
}

// Close closes the pool. It waits for the requests in progress, which end within Config.Timeout.
func (p *Pool) Close() {
	p.stop()
	p.wg.Wait()
	p.pool.Close()
	p.metrics.remove(p)
}

// look wakes the monitor.
func (p *Pool) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
