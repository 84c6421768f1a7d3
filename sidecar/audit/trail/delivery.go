package trail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/audit/spool"
)

const (
	// deliveryItems and deliveryBytes bound what is delivered at once.
	deliveryItems = 500
	deliveryBytes = 1 << 20
	// minRetry and maxRetry bound the time before another attempt.
	minRetry, maxRetry = 100 * time.Millisecond, 5 * time.Second
)

// delivery delivers the items of a spool to the sinks, each at its own pace.
type delivery struct {
	policy  string
	metrics *Metrics
	logger  *slog.Logger
	readers []spool.Reader
	sinks   sync.WaitGroup
	cancel  context.CancelFunc
	// closed is closed when no more is delivered.
	closed    chan struct{}
	closeOnce sync.Once
}

func newDelivery(c Config) *delivery {
	ctx, cancel := context.WithCancel(context.Background())
	d := &delivery{policy: c.Policy, metrics: c.Metrics, logger: c.Logger, cancel: cancel, closed: make(chan struct{})}
	for _, s := range c.Sinks {
		r := c.Spool.Reader(s.Name())
		d.readers = append(d.readers, r)
		d.sinks.Go(func() { d.run(ctx, s, r) })
	}
	return d
}

// run delivers to one sink until ctx ends.
func (d *delivery) run(ctx context.Context, s Sink, r spool.Reader) {
	retry, failing := minRetry, false
	for {
		items, err := r.Next(ctx, deliveryItems, deliveryBytes)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = d.deliver(ctx, s, r, items)
		}
		if err == nil {
			if failing {
				d.logger.Info("audit sink available again", "policy", d.policy, "sink", s.Name())
			}
			retry, failing = minRetry, false
			continue
		}
		if ctx.Err() != nil {
			return
		}
		d.metrics.failures.WithLabelValues(s.Name()).Inc()
		if !failing {
			d.logger.Warn("audit sink unavailable, records wait in the spool", "policy", d.policy, "sink", s.Name(), "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
		retry = min(2*retry, maxRetry)
	}
}

// deliver delivers items, and acknowledges those that the sink has.
func (d *delivery) deliver(ctx context.Context, s Sink, r spool.Reader, items []spool.Item) error {
	n, err := s.Deliver(ctx, items)
	if n == 0 {
		return err
	}
	if acked := r.Ack(n); acked != nil {
		return errors.Join(err, acked)
	}
	d.metrics.delivered.WithLabelValues(s.Name()).Add(float64(records(items[:n])))
	return err
}

func records(items []spool.Item) (n int) {
	for _, i := range items {
		if i.Kind == spool.Record {
			n++
		}
	}
	return n
}

// deliverLeft delivers what an earlier process has left, and removes its spool.
func (t *Trail) deliverLeft(ctx context.Context, l Left) {
	c := t.cfg
	c.Spool = l
	d := newDelivery(c)
	t.cfg.Logger.Info("delivering what an earlier process has left in the spool of the audit trail", "policy", c.Policy)
	err := d.close(ctx)
	if err == nil {
		err = l.Remove()
	} else {
		_ = l.Close() // the next process continues
	}
	if err != nil && ctx.Err() == nil {
		t.cfg.Logger.Warn("removing a delivered spool of the audit trail", "policy", c.Policy, "error", err)
	}
}

// close waits until everything is delivered or ctx ends.
func (d *delivery) close(ctx context.Context) error {
	defer d.closeOnce.Do(func() {
		close(d.closed)
		d.cancel()
		d.sinks.Wait()
	})
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		left := 0
		for _, r := range d.readers {
			left = max(left, r.Pending())
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("delivering the last items: %d are left: %w", left, context.Cause(ctx))
		case <-poll.C:
		}
	}
}
