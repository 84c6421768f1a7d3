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
)

const (
	// probeInterval is the pause between two questions to a server that does not answer.
	probeInterval = 250 * time.Millisecond
	// idleInterval is the pause between two looks at a server that nobody may be using.
	idleInterval = 5 * time.Second
	// sweepInterval is the pause between two looks for nodes that left the cluster.
	sweepInterval = 10 * time.Minute
	// roundTrips bounds an operation in units of Config.Timeout: log in and select, ask, and ask again after a redirect or
	// with a script that the server had forgotten.
	roundTrips = 3
)

// Conn is the shared connection. It is safe for concurrent use.
type Conn struct {
	client  goredis.UniversalClient
	timeout time.Duration
	metrics *Metrics
	log     *slog.Logger
	last    atomic.Pointer[lastOutcome]

	mu     sync.Mutex
	guards map[*guard]struct{}

	wake chan struct{}
	stop context.CancelFunc
	wg   sync.WaitGroup
}

type lastOutcome struct{ err error }

// Status is what readiness and conditions say about shared state.
type Status struct {
	// Up says that the last operation was answered and that no server in use is given up for now.
	Up bool
	// Err is why it is not up: the response, or what kept it away.
	Err error
}

// Open returns a connection that is made in the background: Redis need not be there yet. The error says what is wrong
// with c. Log receives changes of state and, at debug level, what the client library says; the library has one logger for
// the process.
func Open(c Config, metrics *Metrics, log *slog.Logger) (*Conn, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening redis: %w", err)
	}
	goredis.SetLogger(libraryLog{log})
	ctx, stop := context.WithCancel(context.Background())
	conn := &Conn{
		timeout: c.Timeout, metrics: metrics, log: log, guards: map[*guard]struct{}{},
		wake: make(chan struct{}, 1), stop: stop,
	}
	conn.last.Store(&lastOutcome{err: errors.New("redis has not been asked yet")})
	if conn.client, err = newClient(c, conn.watch); err != nil {
		stop()
		return nil, fmt.Errorf("opening redis: %w", err)
	}
	metrics.add(conn)
	conn.wg.Go(func() { conn.run(ctx) })
	return conn, nil
}

// Do runs f with the client. The time of f is bounded by three times Config.Timeout. A canceled ctx does not stop it:
// what was begun for a request is finished, or a client could undo its own count by hanging up. f returns the client's
// errors as they are. An error that matches ErrUnavailable means that nothing is known of the outcome.
func (c *Conn) Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTrips*c.timeout)
	defer cancel()
	start := time.Now()
	err := f(ctx, c.client)
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
	var known *outage
	if classify(err) != refused && !errors.As(err, &known) {
		err = &outage{cause: err.Error()}
	}
	return err
}

// Status reports whether shared state works.
func (c *Conn) Status() Status {
	last := c.last.Load().err
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.guards {
		if g.breaker.open.Load() && g.blamed.Load() {
			return Status{Err: g.cause.Load()}
		}
	}
	return Status{Up: last == nil, Err: last}
}

// Close ends the connection; operations under way fail.
func (c *Conn) Close() error {
	c.stop()
	c.metrics.remove(c)
	err := c.client.Close()
	c.wg.Wait()
	if err != nil && !errors.Is(err, goredis.ErrClosed) {
		return fmt.Errorf("closing redis: %w", err)
	}
	return nil
}

// watch puts a guard before a new node's client.
func (c *Conn) watch(node *goredis.Client) {
	g := &guard{conn: c, node: node}
	node.AddHook(g)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guards[g] = struct{}{}
}

func (c *Conn) forget(g *guard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.guards, g)
}

func (c *Conn) opened(g *guard, cause error) {
	c.log.Warn("redis does not answer and is left alone until it does", "address", g.node.Options().Addr, "error", cause)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Conn) closed(g *guard) {
	c.log.Info("redis answers again", "address", g.node.Options().Addr)
}
