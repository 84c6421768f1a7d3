package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

const (
	// observeInterval is the time between two looks at the length of a stream.
	observeInterval = 5 * time.Second
	// maxSinks bounds the sinks of a worker, one for each retention.
	maxSinks = 16
)

// errGone says that the stream does not exist any more.
var errGone = errors.New("the stream has expired")

// sink writes the items of one retention.
type sink struct {
	rows *rows.Sink
	// refused are the items that the database refused.
	refused []refusal
}

type refusal struct {
	item  spool.Item
	cause error
}

// worker empties one stream. It is one goroutine.
type worker struct {
	drain          *Drain
	key, namespace string
	log            *slog.Logger
	sinks          map[int]*sink
	// claimed and observed are the times of the last look at abandoned entries, and at the length.
	claimed, observed time.Time
	// cursor is where the search for abandoned entries continues.
	cursor string
	// failing says that the last attempt failed.
	failing bool
}

// run empties the stream until ctx ends or the stream is gone.
func (w *worker) run(ctx, hard context.Context) {
	var err error
	for err == nil && ctx.Err() == nil {
		var messages []goredis.XMessage
		err = w.retry(ctx, func(ctx context.Context) (err error) {
			messages, err = w.next(ctx)
			return err
		})
		if len(messages) > 0 {
			err = w.write(hard, messages)
		}
	}
}

// retry calls f until it succeeds, the stream is gone or ctx ends.
func (w *worker) retry(ctx context.Context, f func(context.Context) error) error {
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		err := f(ctx)
		if err == nil && w.failing {
			w.log.Info("audit records are written again")
		}
		if err == nil || errors.Is(err, errGone) {
			w.failing = false
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		if !w.failing {
			w.log.Warn("audit records cannot be written at present; they wait in the stream", "error", err)
		}
		w.failing = true
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return err
		}
		w.look(ctx)
	}
}

// look updates the metrics of the stream from time to time. They are not worth an error: the next command has the same one.
func (w *worker) look(ctx context.Context) {
	if time.Since(w.observed) < observeInterval {
		return
	}
	w.observed = time.Now()
	if err := w.observe(ctx); err != nil {
		w.log.Debug("the length of a stream is unknown", "error", err)
	}
}

// join makes the group. It begins with the first entry. A Redis without memory refuses this, and still lets a group read.
func (w *worker) join(ctx context.Context) error {
	err := w.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return client.XGroupCreate(ctx, w.key, Group, "0").Err()
	})
	switch {
	case err == nil || strings.HasPrefix(err.Error(), "BUSYGROUP"):
		return nil
	case strings.Contains(err.Error(), "requires the key to exist"):
		return errGone
	}
	return fmt.Errorf("joining the group of a stream: %w", err)
}

// next returns entries that another drain abandoned, or waits a while for new ones.
func (w *worker) next(ctx context.Context) (messages []goredis.XMessage, err error) {
	w.look(ctx)
	batch, block := w.drain.share()
	if w.cursor != "" || time.Since(w.claimed) > w.drain.cfg.Abandoned/3 {
		if messages, err = w.claim(ctx, batch); err != nil || len(messages) > 0 {
			return messages, w.joinAgain(ctx, err)
		}
	}
	messages, err = w.read(ctx, batch, block)
	if err == nil && len(messages) == 0 && !block {
		sleep(ctx, wait)
	}
	return messages, w.joinAgain(ctx, err)
}

// joinAgain makes the group if err says that it is missing: the stream has expired, and was perhaps made again.
func (w *worker) joinAgain(ctx context.Context, err error) error {
	if err == nil || !strings.Contains(err.Error(), "NOGROUP") {
		return err
	}
	return w.join(ctx)
}

// claim takes over entries that another drain has held for too long.
func (w *worker) claim(ctx context.Context, batch int64) (messages []goredis.XMessage, err error) {
	w.claimed = time.Now()
	err = w.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		start := w.cursor
		if start == "" {
			start = "0-0"
		}
		messages, w.cursor, err = client.XAutoClaim(ctx, &goredis.XAutoClaimArgs{
			Stream: w.key, Group: Group, Consumer: w.drain.cfg.Consumer, MinIdle: w.drain.cfg.Abandoned, Start: start, Count: batch,
		}).Result()
		return err
	})
	if err != nil || w.cursor == "0-0" {
		w.cursor = ""
	}
	if err != nil {
		return nil, fmt.Errorf("taking over abandoned entries: %w", err)
	}
	if len(messages) > 0 {
		w.log.Info("taking over entries of a stream that another writer has left", "entries", len(messages))
	}
	return messages, nil
}

// read reads new entries. If block is true, it waits for them.
func (w *worker) read(ctx context.Context, batch int64, block bool) (messages []goredis.XMessage, err error) {
	args := &goredis.XReadGroupArgs{Streams: []string{w.key, ">"}, Group: Group, Consumer: w.drain.cfg.Consumer, Count: batch, Block: -1}
	if block {
		args.Block = wait
	}
	err = w.drain.cfg.Conn.Hold(ctx, w.key, func(ctx context.Context, conn *goredis.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, w.drain.cfg.Conn.HoldTimeout(max(0, args.Block)))
		defer cancel()
		streams, err := conn.XReadGroup(ctx, args).Result()
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		for _, s := range streams {
			messages = append(messages, s.Messages...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading a stream: %w", err)
	}
	return messages, nil
}

// write writes a batch and removes it from the stream. It returns an error only if ctx ends.
func (w *worker) write(ctx context.Context, messages []goredis.XMessage) error {
	groups, bad := sortOut(w.namespace, messages)
	if err := w.moveAside(ctx, bad, "malformed"); err != nil {
		return err
	}
	for _, g := range groups {
		if err := w.writeGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) writeGroup(ctx context.Context, g *group) error {
	s := w.sink(g.days)
	err := w.retry(ctx, func(ctx context.Context) error {
		select {
		case w.drain.writing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-w.drain.writing }()
		s.refused = nil
		_, err := s.rows.Deliver(ctx, g.items)
		return err
	})
	if err != nil {
		return err
	}
	var bad []rejected
	var ids []string
	for i, m := range g.messages {
		if cause := s.why(g.items[i]); cause != nil {
			bad = append(bad, rejected{m, cause})
		} else {
			ids = append(ids, m.ID)
		}
	}
	w.drain.cfg.Metrics.written.WithLabelValues(w.namespace).Add(float64(len(ids)))
	if err := w.moveAside(ctx, bad, "refused"); err != nil {
		return err
	}
	return w.retry(ctx, func(ctx context.Context) error { return w.settle(ctx, ids) })
}

// moveAside rejects entries. The log has no content of them: they may be anything.
func (w *worker) moveAside(ctx context.Context, bad []rejected, reason string) error {
	for _, r := range bad {
		kept := false
		err := w.retry(ctx, func(ctx context.Context) (err error) {
			kept, err = w.reject(ctx, r)
			return err
		})
		if err != nil {
			return err
		}
		w.drain.cfg.Metrics.rejected.WithLabelValues(w.namespace, reason).Inc()
		w.log.Error("an entry of the audit trail is rejected", "id", r.message.ID, "reason", reason, "error", r.cause, "kept", kept)
	}
	return nil
}

// sink returns the sink for a retention.
func (w *worker) sink(days int) *sink {
	if s := w.sinks[days]; s != nil {
		return s
	}
	if len(w.sinks) >= maxSinks {
		clear(w.sinks) // a new sink has nothing to remember
	}
	s := &sink{}
	s.rows = rows.New(rows.Config{
		Database: w.drain.cfg.Database, RetainDays: days,
		OnRefused: func(i spool.Item, cause error) { s.refused = append(s.refused, refusal{i, cause}) },
	})
	w.sinks[days] = s
	return s
}

// why returns why the database refused an item; nil if it has it.
func (s *sink) why(i spool.Item) error {
	for _, r := range s.refused {
		if r.item.Kind == i.Kind && string(r.item.Payload) == string(i.Payload) {
			return r.cause
		}
	}
	return nil
}
