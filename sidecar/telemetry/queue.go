package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queueSize bounds the spans that wait. A span of the sidecar needs about a kilobyte.
	queueSize = 2048
	// batchSize bounds the spans in one request.
	batchSize = 256
	// defaultInterval is how long a span waits for others.
	defaultInterval = 2 * time.Second
	// exportTime bounds one request with its repetitions.
	exportTime = 10 * time.Second
	// failureLogEvery is the minimum pause between two lines about failed exports.
	failureLogEvery = time.Minute
)

type queueConfig struct {
	exporter sdktrace.SpanExporter
	metrics  *Metrics
	logger   *slog.Logger
	interval time.Duration
}

// queue is a span processor. Unlike the SDK's own, it counts what it drops.
type queue struct {
	queueConfig
	spans chan sdktrace.ReadOnlySpan

	// closing ends the goroutine, which then exports the rest until the context of Shutdown ends.
	closeOnce sync.Once
	closing   chan struct{}
	ctx       context.Context
	cancel    context.CancelFunc
	ended     chan struct{}

	logged time.Time
}

func newQueue(c queueConfig) *queue {
	c.interval = cmp.Or(c.interval, defaultInterval)
	q := &queue{queueConfig: c, spans: make(chan sdktrace.ReadOnlySpan, queueSize), closing: make(chan struct{}), ended: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.run()
	return q
}

// OnStart implements sdktrace.SpanProcessor.
func (*queue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd queues a span, or drops it. It never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case q.spans <- s:
	default:
		q.metrics.drop(dropFull, 1)
	}
}

// ForceFlush implements sdktrace.SpanProcessor. Nothing calls it.
func (*queue) ForceFlush(context.Context) error { return nil }

// Shutdown exports what is queued until ctx ends, and counts the rest as dropped.
func (q *queue) Shutdown(ctx context.Context) error {
	q.closeOnce.Do(func() { close(q.closing) })
	defer q.cancel()
	select {
	case <-q.ended:
		return nil
	case <-ctx.Done():
		q.cancel()
		<-q.ended
		return ctx.Err()
	}
}

func (q *queue) run() {
	defer close(q.ended)
	batch := make([]sdktrace.ReadOnlySpan, 0, batchSize)
	timer := time.NewTimer(q.interval)
	defer timer.Stop()
	for closing := false; !closing; {
		select {
		case s := <-q.spans:
			batch = append(batch, s)
			if len(batch) < batchSize {
				continue
			}
		case <-timer.C:
		case <-q.closing:
			closing = true
		}
		batch = q.export(batch)
		timer.Reset(q.interval)
	}
	q.drain(batch)
}

// drain exports what is left.
func (q *queue) drain(batch []sdktrace.ReadOnlySpan) {
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) == batchSize {
				batch = q.export(batch)
			}
		default:
			q.export(batch)
			return
		}
	}
}

// export sends the batch, and returns an empty one.
func (q *queue) export(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	ctx, cancel := context.WithTimeout(q.ctx, exportTime)
	defer cancel()
	if err := q.exporter.ExportSpans(ctx, batch); err != nil {
		q.metrics.drop(dropFailed, len(batch))
		if now := time.Now(); now.Sub(q.logged) > failureLogEvery {
			q.logged = now
			q.logger.Warn("spans could not be exported and are dropped", "spans", len(batch), "error", err)
		}
	}
	clear(batch)
	return batch[:0]
}
