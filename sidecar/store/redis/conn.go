package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/span"
)

const (
	// probeInterval is the pause between probes of an unavailable server.
	probeInterval = 250 * time.Millisecond
	// idleInterval is the pause between checks while all servers are available.
	idleInterval = 5 * time.Second
	// sweepInterval is the pause between checks for nodes that left the cluster.
	sweepInterval = 10 * time.Minute
	// roundTrips bounds an operation in units of Config.Timeout: logging in and selecting, sending the command, and sending it
	// again after a redirect or for a script that the server no longer has.
	roundTrips = 3
)

// Conn is the shared connection. It is safe for concurrent use.
type Conn struct {
	config  Config
	opener  *opener
	metrics *Metrics
	log     *slog.Logger
	link    atomic.Pointer[link]
	last    atomic.Pointer[lastOutcome]
	// doubt is why the Sentinels do not confirm the master.
	doubt atomic.Pointer[lastOutcome]
	// policy is the maxmemory-policy of the servers; nil before it is known, and empty if they do not say it.
	policy atomic.Pointer[string]
	// asked is how urgently the master must be looked up again.
	asked atomic.Int32

	mu     sync.Mutex
	guards map[*guard]struct{}
	ended  bool
	// sole is the guard of a server that is not in a cluster.
	sole *guard

	wake chan struct{}
	stop context.CancelFunc
	wg   sync.WaitGroup
}

type lastOutcome struct{ err error }

// Status is the status of shared state, for readiness and conditions.
type Status struct {
	// Up reports that the last operation got a reply, that no server in use has an open breaker, and that the Sentinels, if any,
	// confirm the master.
	Up bool
	// Err is why Up is false: an error reply, or the cause of the outage.
	Err error
	// Evicts is the maxmemory-policy under which a server may delete keys. It is empty under noeviction, and if it is unknown.
	Evicts string
}

// ErrNotContacted is Status.Err of a connection whose first request has no outcome yet. It says nothing about Redis.
var ErrNotContacted = errors.New("redis has not been contacted yet")

// Open returns a connection that is made in the background, so Redis may be unavailable. An error means that c is invalid. log
// receives changes of state and, at debug level, the messages of the client library, which has one logger per process.
func Open(c Config, metrics *Metrics, log *slog.Logger) (*Conn, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening redis: %w", err)
	}
	goredis.SetLogger(libraryLog{log})
	ctx, stop := context.WithCancel(context.Background())
	conn := &Conn{config: c, metrics: metrics, log: log, guards: map[*guard]struct{}{}, wake: make(chan struct{}, 1), stop: stop}
	conn.last.Store(&lastOutcome{err: ErrNotContacted})
	if conn.opener, err = newOpener(c); err != nil {
		stop()
		return nil, fmt.Errorf("opening redis: %w", err)
	}
	conn.opener.watch, conn.opener.moved = conn.watch, conn.moved
	conn.link.Store(conn.opener.open())
	metrics.add(conn)
	conn.wg.Go(func() { conn.run(ctx) })
	return conn, nil
}

// Do runs f with the client. The time of f is bounded by three times Config.Timeout. Canceling ctx does not stop f: otherwise a
// client could undo its own count by closing its connection. f must return the client's errors unchanged. If the error matches
// ErrUnavailable, the outcome is unknown.
func (c *Conn) Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error {
	return c.do(ctx, c.link.Load(), f)
}

func (c *Conn) do(ctx context.Context, l *link, f func(context.Context, goredis.UniversalClient) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTrips*c.config.Timeout)
	defer cancel()
	start := time.Now()
	ctx, call := span.Start(ctx, "redis")
	err := f(ctx, l.client)
	call.End(err)
	c.metrics.observe(err, time.Since(start))
	if err == nil {
		if c.last.Load().err != nil {
			c.last.Store(&lastOutcome{})
		}
		return nil
	}
	if classify(err) == answered {
		return err
	}
	c.last.Store(&lastOutcome{err: err})
	return hide(err)
}

// hide turns the errors of an outage into an ErrUnavailable.
func hide(err error) error {
	var known *outage
	if found := classify(err); found == answered || found == refused || found == unwritable || errors.As(err, &known) {
		return err
	}
	return &outage{cause: err.Error()}
}

// Status returns the current status.
func (c *Conn) Status() Status {
	last := c.last.Load().err
	if doubt := c.doubt.Load(); last == nil && doubt != nil {
		last = doubt.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.guards {
		if g.breaker.Open() && g.blamed.Load() && g.inUse() {
			return Status{Err: g.cause.Load(), Evicts: c.evicting()}
		}
	}
	return Status{Up: last == nil, Err: last, Evicts: c.evicting()}
}

// Close closes the connection. Operations in progress fail.
func (c *Conn) Close() error {
	c.stop()
	c.metrics.remove(c)
	c.mu.Lock()
	c.ended = true
	l := c.link.Load()
	c.mu.Unlock()
	err := l.client.Close()
	l.drop()
	if c.opener.sentinels != nil {
		c.opener.sentinels.close()
	}
	c.wg.Wait()
	if err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("closing redis: %w", err)
	}
	return nil
}

// watch adds a guard to the client of a new node. A client that replaces another one gets the same guard.
func (c *Conn) watch(node *goredis.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.sole
	if g == nil {
		g = &guard{conn: c}
	}
	if c.config.Mode != Cluster {
		c.sole = g
	}
	g.node.Store(node)
	node.AddHook(g)
	c.guards[g] = struct{}{}
}

func (c *Conn) forget(g *guard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.guards, g)
}

// opened is called when a breaker opens. The master may be elsewhere by now.
func (c *Conn) opened(g *guard, cause error) {
	c.log.Warn("Redis is unavailable; commands fail until a probe succeeds", "address", c.address(g), "error", cause)
	c.lookUp(true)
}

func (c *Conn) closed(g *guard) {
	c.log.Info("Redis is available again", "address", c.address(g))
}

// address returns the address of a guard's server, for the log.
func (c *Conn) address(g *guard) string {
	if addr := c.link.Load().master.Load(); addr != nil {
		return *addr
	}
	return g.node.Load().Options().Addr
}
