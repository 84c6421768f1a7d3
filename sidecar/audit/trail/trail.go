// Package trail is the audit trail of one policy in one process. It is a sink of the policy's events. It makes a record of each event,
// gives it its place in the hash chain, and keeps it in a spool until every sink of the trail has it.
//
// Record does no I/O. One goroutine makes the records, and each sink has a goroutine that delivers them. If the spool is full, events wait in
// a queue, then they are dropped and counted, and the trail says so in a record of its own as soon as it can. Full reports this state, so
// that requests can be refused.
//
// Events that a client without a credential can cause are bounded: see flood.
package trail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Sink delivers items.
type Sink interface {
	// Name is the name of the sink in metrics and in the spool.
	Name() string
	// Deliver delivers the items, and returns how many of the first ones are delivered: with a nil error, all. An error is temporary: the
	// others are delivered again later. They may have been delivered all the same: each item has an identity of its own.
	Deliver(ctx context.Context, items []spool.Item) (int, error)
}

// Left is a spool of an earlier process.
type Left interface {
	spool.Spool
	// Remove removes the spool.
	Remove() error
}

// Protector hides personal data in a record. It returns the keys that the record needs, as items.
type Protector interface {
	Protect(r *record.Record) ([]spool.Item, error)
}

// Keys are used for all records of a trail.
type Keys struct {
	// Signer signs checkpoints; nil for none.
	Signer note.Signer
	// Protector is nil if nothing is hidden.
	Protector Protector
}

// Config configures a Trail.
type Config struct {
	// Policy is "namespace/name"; Pod is the name of the pod.
	Policy, Pod string
	// Categories are recorded.
	Categories []record.Category
	Classifier record.Classifier
	// Spool keeps the items, and Sinks get them; at least one. A sink is safe for concurrent use.
	Spool spool.Spool
	Sinks []Sink
	// Left are spools of earlier processes. The sinks get what is in them, and then they are removed.
	Left []Left
	// Keys returns what signs checkpoints and hides personal data. It is called until it succeeds, and nothing is recorded before; nil
	// for none of both.
	Keys func(context.Context) (Keys, error)
	// CheckpointInterval is the time between two checkpoints; one minute if zero.
	CheckpointInterval time.Duration
	// RetainDays is how long records are kept, in days; 0 if no sink removes them. Checkpoints state it.
	RetainDays int
	Metrics    *Metrics
	Logger     *slog.Logger
	// Now is time.Now if nil.
	Now func() time.Time
	// Heir returns the trail that records an event that comes after Close: one of a request that was under way when other settings began. It
	// returns nil if there is none, and may be nil.
	Heir func() *Trail
}

const (
	// queueLength and queueBytes bound the events that wait to be recorded.
	queueLength = 4096
	queueBytes  = 4 << 20
	// batch is the number of events that are recorded together.
	batch = 256
	// defaultCheckpointInterval is the time between two checkpoints.
	defaultCheckpointInterval = time.Minute
)

// Trail is an audit trail. It is safe for concurrent use.
type Trail struct {
	cfg   Config
	chain *hashchain.Chain
	flood *flood
	// shares are those of clients in the rest of the spool.
	shares shares
	queue  chan *event.Event
	// queued is the size of the events in the queue, in bytes. dropped counts events since the last record about them.
	queued  atomic.Int64
	dropped atomic.Uint64
	// gate is held for reading while an event is put into the queue. After ended none is.
	gate  sync.RWMutex
	ended bool
	// waiting says that a batch waits for room in the spool.
	waiting atomic.Bool
	// warned is the time of the last warning that the spool is full. Only the goroutine of put uses it.
	warned time.Time
	// keys, signed and failing are used by the recording goroutine alone. signed is the size of the chain at the last checkpoint.
	keys    Keys
	signed  uint64
	failing bool

	stop      chan struct{}
	stopOnce  sync.Once
	recording sync.WaitGroup
	delivery  *delivery
	left      sync.WaitGroup
	endLeft   context.CancelFunc
}

// Open starts a trail. The caller calls Close.
func Open(c Config) (*Trail, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CheckpointInterval <= 0 {
		c.CheckpointInterval = defaultCheckpointInterval
	}
	if len(c.Sinks) == 0 || c.Spool == nil || c.Logger == nil || c.Metrics == nil {
		return nil, errors.New("opening the audit trail: Sinks, Spool, Logger and Metrics are required")
	}
	writer, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("opening the audit trail: %w", err)
	}
	t := &Trail{cfg: c, chain: hashchain.New(writer), queue: make(chan *event.Event, queueLength), stop: make(chan struct{})}
	t.flood = newFlood()
	t.delivery = newDelivery(c)
	c.Metrics.watch(t)
	t.recording.Go(t.run)
	ctx, cancel := context.WithCancel(context.Background())
	t.endLeft = cancel
	for _, l := range c.Left {
		t.left.Go(func() { t.deliverLeft(ctx, l) })
	}
	return t, nil
}

// Kinds implements event.Sink.
func (t *Trail) Kinds() event.Kinds { return record.Kinds(t.cfg.Categories) }

// Record implements event.Sink.
func (t *Trail) Record(e event.Event) {
	class, ok := t.cfg.Classifier.Classify(&e)
	if !ok || !slices.Contains(t.cfg.Categories, class.Category) {
		return
	}
	if class.Public && !t.flood.admit(&e, t.crowded()) {
		return
	}
	if t.scarce() {
		t.shares.use(e.ClientAddr, sizeOf(&e))
	}
	t.enqueue(&e)
}

func (t *Trail) enqueue(e *event.Event) {
	if !t.offer(e) {
		t.late(*e)
	}
}

// offer puts e into the queue, or drops it. It reports false if the trail has ended.
func (t *Trail) offer(e *event.Event) bool {
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.ended {
		return false
	}
	size := sizeOf(e)
	if t.queued.Add(size) > queueBytes {
		t.drop(size)
		return true
	}
	select {
	case t.queue <- e:
	default:
		t.drop(size)
	}
	return true
}

// late passes an event on that came after the end of the trail, or counts it.
func (t *Trail) late(e event.Event) {
	if t.cfg.Heir != nil {
		if heir := t.cfg.Heir(); heir != nil {
			heir.Record(e)
			return
		}
	}
	t.cfg.Metrics.dropped.Inc()
	t.cfg.Logger.Error("an event is missing in the audit trail, because it came after the end of the trail", "policy", t.cfg.Policy, "event", e.Kind.String())
}

func (t *Trail) drop(size int64) {
	t.queued.Add(-size)
	t.dropped.Add(1)
	t.cfg.Metrics.dropped.Inc()
}

// sizeOf estimates the memory of an event, in bytes.
func sizeOf(e *event.Event) int64 {
	size := 512 + len(e.Subject) + len(e.Session) + len(e.TokenID) + len(e.Issuer) + len(e.Account) + len(e.UserAgent) + len(e.Resource.ID)
	if e.Changes != nil {
		for name, c := range *e.Changes {
			size += 64 + len(name) + len(c.Before) + len(c.After)
		}
	}
	return int64(size)
}

// Full reports whether events are being dropped, or will be soon: the spool is full, and no sink makes room.
func (t *Trail) Full() bool {
	return t.waiting.Load() || t.queued.Load() > queueBytes*3/4 || len(t.queue) > queueLength*3/4
}

// crowded reports whether only half of the spool is left, which events that anybody can cause do not get.
func (t *Trail) crowded() bool {
	used, limit := t.cfg.Spool.Usage()
	return used > limit/2 || len(t.queue) > queueLength/2
}

// Policy returns the name of the policy, "namespace/name".
func (t *Trail) Policy() string { return t.cfg.Policy }

// Writer returns the id of the writer of this trail's records.
func (t *Trail) Writer() uuid.UUID { return t.chain.Writer() }

// Close records what has been emitted, signs a last checkpoint, and waits until the sinks have everything or ctx ends. What a spool on a
// volume still has then is delivered by the next process. Events that are recorded
// after Close has been called are those of Config.Heir, or are counted as dropped.
func (t *Trail) Close(ctx context.Context) error {
	t.stopOnce.Do(func() { close(t.stop) })
	recorded := make(chan struct{})
	go func() {
		t.recording.Wait()
		close(recorded)
	}()
	select {
	case <-recorded:
	case <-ctx.Done():
	}
	err := t.delivery.close(ctx)
	t.recording.Wait()
	stop := context.AfterFunc(ctx, t.endLeft)
	t.left.Wait()
	stop()
	t.endLeft()
	t.cfg.Metrics.forget(t)
	end := t.cfg.Spool.Close
	if l, ok := t.cfg.Spool.(Left); ok && err == nil {
		end = l.Remove
	}
	if closing := end(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("closing the audit trail: %w", err)
	}
	return nil
}
