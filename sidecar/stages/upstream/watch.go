package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// The pause between two questions whether a response that is under way may go on; that before the first, by when most responses are
// over; and for how long one goes on that may not any more by then.
const (
	lookEvery = time.Second
	firstLook = 50 * time.Millisecond
	ownGrace  = 30 * time.Second
)

// watch ends a response that lasts for longer than the reason why its request was let in. It asks once the client has the
// response's header. What refuses it by then may be of the request's own making, a logout or another login, whose response is to
// arrive; so that is given time.
type watch struct {
	watches []request.Watch
	ctx     context.Context
	end     context.CancelCauseFunc
	timer   *time.Timer
	// looked says that the first look is over; look alone uses it, and never runs twice at a time.
	looked bool
}

// refusal is why a watch has ended a response.
type refusal struct {
	error
	rule request.Rule
	err  *httperr.Error
}

// start is called for the response's header, if there is anybody to ask.
func (w *watch) start() {
	if len(w.watches) == 0 || w.timer != nil {
		return
	}
	w.timer = time.AfterFunc(time.Hour, w.look) // look uses the timer, which is therefore set before it can run
	w.timer.Reset(firstLook)
}

func (w *watch) ask() *refusal {
	for _, one := range w.watches {
		if err := one.Judge(w.ctx); err != nil {
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

// stop returns why the response was ended, or nil. A look that is under way finds the context done, and is the last.
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
