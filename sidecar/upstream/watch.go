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
	*request.Watch
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
}

// start has the first look follow after lookEvery. A nil Watch asks nothing.
func (w *watch) start() {
	if w.Watch == nil {
		return
	}
	w.timer = time.AfterFunc(time.Hour, w.look) // look uses the timer, which is therefore set before it can run
	w.timer.Reset(lookEvery)
}

func (w *watch) look() {
	if w.ctx.Err() != nil {
		return
	}
	if refusal := w.Judge(w.ctx); refusal != nil {
		w.end(refusal)
		return
	}
	w.timer.Reset(lookEvery)
}

// stop returns why the answer was ended, or nil. A look that is under way finds the context done, and is the last.
func (w *watch) stop() *httperr.Error {
	if w.timer != nil {
		w.timer.Stop()
	}
	var refusal *httperr.Error
	_ = errors.As(context.Cause(w.ctx), &refusal)
	w.end(nil)
	return refusal
}
