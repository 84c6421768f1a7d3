// Package drain moves the items of audit trails from the streams of package stream to PostgreSQL. Any number of drains share the work: they
// are consumers of one group on each stream, and take over what a drain that has died left behind.
//
// An entry is removed from its stream after the transaction with its row. If a drain dies in between, another one writes the row again, and the
// database ignores the copy. While Redis or PostgreSQL is unavailable, a drain waits and loses nothing.
package drain

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// Group is the name of the group of consumers.
const Group = "writers"

const (
	// DefaultAbandoned is the default of Config.Abandoned, and DefaultScan of Config.Scan.
	DefaultAbandoned = 30 * time.Second
	DefaultScan      = 15 * time.Second
	// DefaultGrace is the default of Config.Grace.
	DefaultGrace = 20 * time.Second
	// maxStreams bounds the streams of one drain, and inHand the entries that it holds for all streams together.
	maxStreams = 4096
	inHand     = 8000
	// minBatch and maxBatch bound the entries that are written at once.
	minBatch, maxBatch = 50, 500
	// maxBlocked is the number of streams on which a drain waits with one connection each. Beyond that it asks each stream every wait.
	maxBlocked = 8
	wait       = time.Second
	// idleConsumer is the time after which a consumer without entries is removed from its group.
	idleConsumer = time.Hour
	// minRetry and maxRetry bound the time before another attempt.
	minRetry, maxRetry = 100 * time.Millisecond, 5 * time.Second
)

// ProbeKey is a key that the Redis user of a drain may use and that nothing writes.
func ProbeKey() string { return keyspace.New(stream.Room, "").Key("probe") }

// Conn runs operations on Redis. store/redis.Conn is one.
type Conn interface {
	stream.Conn
	Hold(ctx context.Context, key string, f func(context.Context, *goredis.Conn) error) error
	HoldTimeout(wait time.Duration) time.Duration
}

// Config configures a Drain. Conn, Database, Consumer, Metrics and Logger are required.
type Config struct {
	Conn     Conn
	Database rows.Database
	// Consumer is the name of the drain in the group. No other drain that runs has it.
	Consumer string
	Metrics  *Metrics
	Logger   *slog.Logger
	// Writers is how many batches are written at once, at least one. It should be the number of connections of Database.
	Writers int
	// Abandoned is how long an entry is in the hands of another drain before it is taken over.
	Abandoned time.Duration
	// Scan is the time between two searches for new streams.
	Scan time.Duration
	// Grace bounds the time for the batches in hand when the drain stops.
	Grace time.Duration
}

// Drain empties streams.
type Drain struct {
	cfg     Config
	scripts scripts
	// idle is the time after which a consumer without entries is removed from its group.
	idle time.Duration
	// writing has a place for each batch that is being written.
	writing chan struct{}

	mu      sync.Mutex
	workers map[string]bool // by the key of the stream
	crowded bool
	all     sync.WaitGroup
}

// New returns a drain. It does nothing before Run.
func New(c Config) (*Drain, error) {
	if c.Consumer == "" {
		return nil, errors.New("making a drain: it has no name")
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{{&c.Abandoned, DefaultAbandoned}, {&c.Scan, DefaultScan}, {&c.Grace, DefaultGrace}} {
		if *d.value <= 0 {
			*d.value = d.otherwise
		}
	}
	return &Drain{cfg: c, scripts: newScripts(), idle: idleConsumer, writing: make(chan struct{}, max(1, c.Writers)), workers: map[string]bool{}}, nil
}

// Run empties streams until ctx ends. Then it finishes the batches in hand, within Config.Grace.
func (d *Drain) Run(ctx context.Context) {
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(d.cfg.Grace, stop) })
	d.run(ctx, hard)
}

// run is Run; batches in hand are given up when hard ends.
func (d *Drain) run(ctx, hard context.Context) {
	defer d.all.Wait()
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		found, err := d.find(ctx)
		if err != nil && !failing {
			d.cfg.Logger.Warn("the streams of the audit trail cannot be listed; known ones are still read", "error", err)
		}
		failing = err != nil
		for key, namespace := range found {
			d.start(ctx, hard, key, namespace)
		}
		pause := max(d.cfg.Scan, 50*time.Since(began)) // in a large Redis the search must not take much of its time
		if failing {
			pause = min(pause, maxRetry)
		}
		sleep(ctx, pause)
	}
}

// start starts the worker of a stream, if it has none.
func (d *Drain) start(ctx, hard context.Context, key, namespace string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.workers[key] {
		return
	}
	if len(d.workers) >= maxStreams {
		if !d.crowded {
			d.cfg.Logger.Error("there are too many streams of the audit trail; those of some namespaces are not written", "bound", maxStreams)
		}
		d.crowded = true
		return
	}
	d.workers[key] = true
	w := &worker{drain: d, key: key, namespace: namespace, log: d.cfg.Logger.With("namespace", namespace), sinks: map[int]*sink{}}
	d.all.Go(func() {
		w.run(ctx, hard)
		d.cfg.Metrics.forget(namespace)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.workers, key)
	})
}

// share returns how many entries a worker reads at once, and whether it may wait for them with a connection of its own.
func (d *Drain) share() (batch int64, block bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := max(1, len(d.workers))
	return int64(min(max(inHand/n, minBatch), maxBatch)), n <= maxBlocked
}

// find lists the streams of all namespaces: their namespaces by key.
func (d *Drain) find(ctx context.Context) (map[string]string, error) {
	found, cursors := map[string]string{}, map[string]uint64{}
	for more := true; more && ctx.Err() == nil; {
		err := d.cfg.Conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
			page, err := scan(ctx, client, cursors)
			maps.Copy(found, page)
			return err
		})
		if err != nil {
			return found, err
		}
		more = false
		for _, cursor := range cursors {
			more = more || cursor != 0
		}
	}
	return found, nil
}

// scanCount is the number of keys that one SCAN looks at.
const scanCount = 1000

// scan reads the next page of each server. cursors are those of the servers by address; 0 for one that is done.
func scan(ctx context.Context, client goredis.UniversalClient, cursors map[string]uint64) (map[string]string, error) {
	found := map[string]string{}
	var mu sync.Mutex
	next := func(ctx context.Context, node *goredis.Client) error {
		addr := node.Options().Addr
		mu.Lock()
		cursor, begun := cursors[addr]
		mu.Unlock()
		if begun && cursor == 0 {
			return nil
		}
		keys, cursor, err := node.ScanType(ctx, cursor, "postern:"+stream.Room+":*", scanCount, "stream").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		cursors[addr] = cursor
		for _, key := range keys {
			if namespace, ok := stream.Namespace(key); ok {
				found[key] = namespace
			}
		}
		return nil
	}
	switch c := client.(type) {
	case *goredis.ClusterClient:
		return found, c.ForEachMaster(ctx, next)
	case *goredis.Client:
		return found, next(ctx, c)
	}
	return nil, errors.New("listing keys: the client has no servers")
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
