package trail

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// run records events until the trail is closed.
func (t *Trail) run() {
	checkpoints, floods := time.NewTicker(t.cfg.CheckpointInterval), time.NewTicker(floodWindow)
	defer checkpoints.Stop()
	defer floods.Stop()
	if !t.ready() {
		t.giveUp()
		return
	}
	for {
		select {
		case e := <-t.queue:
			t.record(t.take(e))
		case <-checkpoints.C:
			t.checkpoint()
		case <-floods.C:
			t.summarise()
		case <-t.stop:
			t.finish()
			return
		}
	}
}

const (
	// keysTimeout bounds one attempt to get the keys, and keysRetry is the time between two.
	keysTimeout, keysRetry = 5 * time.Second, time.Second
)

// ready gets the keys. While they are unavailable, events wait in the queue. It reports whether there are keys: not if the trail is closed
// before.
func (t *Trail) ready() bool {
	if t.cfg.Keys == nil {
		return true
	}
	for failed := false; ; failed = true {
		ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
		keys, err := t.cfg.Keys(ctx)
		cancel()
		if err == nil {
			t.keys = keys
			return true
		}
		if !failed {
			t.cfg.Logger.Warn("the audit trail waits for its keys", "policy", t.cfg.Policy, "error", err)
		}
		select {
		case <-t.stop:
			return false
		case <-time.After(keysRetry):
		}
	}
}

// take returns first and the events that wait behind it, up to a batch.
func (t *Trail) take(first *event.Event) []counted {
	events := []counted{{event: first}}
	for len(events) < batch {
		select {
		case e := <-t.queue:
			events = append(events, counted{event: e})
		default:
			return t.taken(events)
		}
	}
	return t.taken(events)
}

func (t *Trail) taken(events []counted) []counted {
	for _, e := range events {
		t.queued.Add(-sizeOf(e.event))
	}
	return events
}

// finish records what is left, and signs it.
func (t *Trail) finish() {
	t.end()
	for {
		select {
		case e := <-t.queue:
			t.record(t.take(e))
			continue
		default:
		}
		break
	}
	t.record(t.flood.summaries(t.crowded()))
	t.checkpoint()
}

// summarise records the events that were only counted. What anybody can cause does not get the rest of the spool: it is counted until there is room.
func (t *Trail) summarise() {
	if !t.scarce() {
		t.record(t.flood.summaries(t.crowded()))
	}
}

// end lets no more events into the queue.
func (t *Trail) end() {
	t.gate.Lock()
	defer t.gate.Unlock()
	t.ended = true
}

// giveUp counts what waits, because there are no keys and the process ends.
func (t *Trail) giveUp() {
	t.end()
	n := uint64(len(t.queue)) + t.dropped.Load()
	for _, c := range t.flood.summaries(false) {
		n += c.count
	}
	t.cfg.Metrics.dropped.Add(float64(n - t.dropped.Load()))
	if n > 0 {
		t.cfg.Logger.Error("events of the audit trail are lost, because there were no keys before the process ended", "policy", t.cfg.Policy, "count", n)
	}
}

// record makes records of events, and puts them into the spool.
func (t *Trail) record(events []counted) {
	if n := t.dropped.Swap(0); n > 0 {
		events = append(events, counted{
			event: &event.Event{Kind: event.AuditDropped, Outcome: event.Failed, Time: t.cfg.Now(), Policy: t.cfg.Policy, Reason: "the spool was full"}, count: n,
		})
		t.cfg.Logger.Error("events are missing in the audit trail, because its spool was full", "policy", t.cfg.Policy, "count", n)
	}
	var items []spool.Item
	for _, e := range events {
		items = append(items, t.items(e)...)
	}
	if len(items) > 0 {
		t.put(items)
	}
}

// items returns the record of an event as an item, after the keys that it needs.
func (t *Trail) items(e counted) []spool.Item {
	class, ok := t.cfg.Classifier.Classify(e.event)
	if !ok {
		return nil
	}
	r := record.FromEvent(e.event, class, t.cfg.Pod)
	if e.count > 1 {
		r.Count = e.count
	}
	var items []spool.Item
	id, err := uuid.NewV7()
	r.ID = id
	if err == nil && t.keys.Protector != nil {
		items, err = t.keys.Protector.Protect(r)
	}
	var encoded []byte
	if err == nil {
		encoded, _, err = t.chain.Append(r)
	}
	if err != nil {
		t.dropped.Add(max(e.count, 1))
		t.cfg.Metrics.dropped.Add(float64(max(e.count, 1)))
		t.cfg.Logger.Error("recording an event in the audit trail", "policy", t.cfg.Policy, "action", class.Action, "error", err)
		return nil
	}
	t.cfg.Metrics.recorded.WithLabelValues(string(class.Category)).Inc()
	return append(items, spool.Item{Kind: spool.Record, Payload: encoded})
}

// put puts items into the spool. While it is full it waits: what is in the chain must not be dropped.
func (t *Trail) put(items []spool.Item) {
	defer t.waiting.Store(false)
	for {
		room := t.cfg.Spool.Room()
		err := t.cfg.Spool.Append(items)
		if err == nil {
			return
		}
		t.waiting.Store(true)
		if !errors.Is(err, spool.ErrFull) {
			t.cfg.Logger.Error("writing the spool of the audit trail", "policy", t.cfg.Policy, "error", err)
			select {
			case <-t.delivery.closed:
				t.lose(items)
				return
			case <-time.After(time.Second):
			}
			continue
		}
		t.warnFull()
		select {
		case <-t.delivery.closed:
			t.lose(items)
			return
		case <-room:
		}
	}
}

// warnFull says that the spool is full, at most once a minute: a slow sink makes it full again and again.
func (t *Trail) warnFull() {
	if now := t.cfg.Now(); t.warned.IsZero() || now.Sub(t.warned) >= time.Minute {
		t.warned = now
		t.cfg.Logger.Warn("the spool of the audit trail is full, audit.onFailure applies until a sink takes records", "policy", t.cfg.Policy)
	}
}

// lose reports items that cannot be kept, because the process ends while the spool is full or cannot be written.
func (t *Trail) lose(items []spool.Item) {
	n := 0
	for _, i := range items {
		if i.Kind == spool.Record {
			n++
		}
	}
	t.cfg.Metrics.dropped.Add(float64(n))
	t.cfg.Logger.Error("records of the audit trail are lost, because the spool takes none and the process ends", "policy", t.cfg.Policy, "count", n)
}

// checkpoint signs the chain, if it has grown.
func (t *Trail) checkpoint() {
	size := t.chain.Size()
	if t.keys.Signer == nil || size == t.signed {
		return
	}
	c := t.chain.Checkpoint(t.cfg.Policy)
	c.Time, c.RetainDays = t.cfg.Now(), t.cfg.RetainDays
	signed, err := c.Sign(t.keys.Signer)
	if err != nil {
		if !t.failing {
			t.cfg.Logger.Warn("the audit trail is not signed at present", "policy", t.cfg.Policy, "error", err)
		}
		t.failing = true
		t.cfg.Metrics.unsigned.Inc()
		return
	}
	if t.failing {
		t.cfg.Logger.Info("the audit trail is signed again", "policy", t.cfg.Policy)
	}
	t.failing, t.signed = false, size
	t.put([]spool.Item{{Kind: spool.Checkpoint, Payload: signed}})
}
