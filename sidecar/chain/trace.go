package chain

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// appStep is the name of the app in a trace.
const appStep = "app"

// StageNames returns the names of all stages in the order in which a request meets them. The app, as "app", is last.
func StageNames() []string { return append(proxyProfile(), appStep) }

// traceSteps replaces each stage by one that records what it does, and returns such an app.
func traceSteps(steps []step, stages []stage.Stage, app stage.Handler) stage.Handler {
	for i, s := range steps {
		stages[i] = traced(s.name, stages[i])
	}
	return stage.Chain(app, traced(appStep, func(next stage.Handler) stage.Handler { return next }))
}

// traced returns s, or an empty stage if s is nil, which records its outcome in the request's trace.
func traced(name string, s stage.Stage) stage.Stage {
	if s == nil {
		return func(next stage.Handler) stage.Handler {
			return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
				if t := request.TraceOf(r); t != nil {
					t.Skip(name)
				}
				return next.ServeHTTP(w, r)
			})
		}
	}
	return func(next stage.Handler) stage.Handler {
		inner := s(passing(next))
		return stage.Func(func(w http.ResponseWriter, r *http.Request) (err error) {
			t := request.TraceOf(r)
			if t == nil {
				return inner.ServeHTTP(w, r)
			}
			step := t.Begin(name, r)
			defer func() { t.End(step, r, err) }()
			return inner.ServeHTTP(w, r)
		})
	}
}

// passing records that the stage before next passes the request on.
func passing(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		t := request.TraceOf(r)
		if t == nil {
			return next.ServeHTTP(w, r)
		}
		step := t.Open()
		step.Pass(r)
		err := next.ServeHTTP(w, r)
		step.Passed(r, err)
		return err
	})
}
