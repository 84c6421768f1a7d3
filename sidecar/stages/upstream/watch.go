package upstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// lookEvery is the pause between two checks whether a response in flight may continue. firstLook is the delay of the
// first check; most responses are complete by then. ownGrace is how long a response continues that the first check
// refuses.
const (
	lookEvery = time.Second
	firstLook = 50 * time.Millisecond
	ownGrace  = 30 * time.Second
)

// watch ends a response that lasts longer than the reason why its request was allowed. It checks only after the
// client has the response's header. If the first check refuses, the request itself may be the cause (a logout or
// another login), and its response must arrive. Such a response gets more time.
//
// A response of an HTTP/1.1 app has no context of its own until a part of it was sent and more follows: most have arrived with their header.
type watch struct {
	watches []request.Watch
	ctx     context.Context // nil for none yet
	end     context.CancelCauseFunc
	timer   *time.Timer
	// abort ends the response of an HTTP/1.1 app; nil for none, and when that response has ended.
	mu    sync.Mutex
	abort func()
	// looked says that the first check is done. Only look uses it, and look never runs concurrently.
	looked bool
}

// refusal is why a watch ended a response.
type refusal struct {
	error
	rule request.Rule
	err  *httperr.Error
}

// arm is called when the response of an HTTP/1.1 app is not complete yet. abort ends it.
func (w *watch) arm(client context.Context, abort func()) {
	if len(w.watches) == 0 || w.ctx != nil {
		return
	}
	w.abort = abort
	ctx, end := context.WithCancelCause(client)
	w.ctx, w.end = ctx, func(why error) {
		end(why)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.abort != nil {
			w.abort()
		}
	}
	w.start()
}

// disarm is called when that response has ended: its connection may belong to another request from then on.
func (w *watch) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abort = nil
}

// start is called when the response's header is sent. It does nothing if there are no watches.
func (w *watch) start() {
	if len(w.watches) == 0 || w.timer != nil || w.ctx == nil {
		return
	}
	w.timer = time.AfterFunc(time.Hour, w.look) // look uses the timer, so the timer must be set before look can run
	w.timer.Reset(firstLook)
}

func (w *watch) ask() *refusal {
	for i := range w.watches {
		one := &w.watches[i]
		if err := one.Ask(w.ctx); err != nil {
			return &refusal{error: err, rule: one.Rule, err: err}
		}
	}
	return nil
}

func (w *watch) look() {
	if w.ctx.Err() != nil {
		return
	}
	why, again := w.ask(), w.looked
	w.looked = true
	switch {
	case why == nil:
		w.timer.Reset(lookEvery)
	case again:
		w.end(why)
	default:
		w.timer.Reset(ownGrace)
	}
}

// stop returns why the response was ended, or nil. A check that is running finds the context done, and is the last
// one.
func (w *watch) stop() *refusal {
	if w.timer == nil {
		return nil
	}
	w.timer.Stop()
	var why *refusal
	_ = errors.As(context.Cause(w.ctx), &why)
	w.end(nil)
	return why
}
