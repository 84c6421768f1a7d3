package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/posterndev/postern/sidecar/httperr"
	"github.com/posterndev/postern/sidecar/request"
)

// lookEvery is the pause between two questions whether an answer that is under way may go on.
const lookEvery = time.Second

// watch ends an answer that lasts for longer than the reason why its request was let in. It asks from the app's header on: a
// request that the app is still thinking about may be the very one that logs its user out, and is answered.
type watch struct {
	watches []request.Watch
	ctx     context.Context
	end     context.CancelCauseFunc
	timer   *time.Timer
}

// refusal is why a watch has ended an answer.
type refusal struct {
	error
	rule request.Rule
	err  *httperr.Error
}

// start has the first look follow after lookEvery, if there is anybody to ask.
func (w *watch) start() {
	if len(w.watches) == 0 {
		return
	}
	w.timer = time.AfterFunc(time.Hour, w.look) // look uses the timer, which is therefore set before it can run
	w.timer.Reset(lookEvery)
}

func (w *watch) look() {
	if w.ctx.Err() != nil {
		return
	}
	for _, one := range w.watches {
		if err := one.Judge(w.ctx); err != nil {
			w.end(&refusal{error: err, rule: one.Rule, err: err})
			return
		}
	}
	w.timer.Reset(lookEvery)
}

// stop returns why the answer was ended, or nil. A look that is under way finds the context done, and is the last.
func (w *watch) stop() *refusal {
	if w.timer != nil {
		w.timer.Stop()
	}
	var why *refusal
	_ = errors.As(context.Cause(w.ctx), &why)
	w.end(nil)
	return why
}
