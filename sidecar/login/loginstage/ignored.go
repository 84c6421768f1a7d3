package loginstage

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// The reasons why the app's fields have no effect, in the log and in the metric.
const (
	// ignoredTokens: the policy has no section tokens.
	ignoredTokens = "no-tokens"
	// ignoredRoute: the method and path are not in tokens.login, or the method is HEAD.
	ignoredRoute = "route"
	// ignoredStatus: the status is neither 2xx nor 302 nor 303.
	ignoredStatus = "status"
	// ignoredDelivery: a redirect, which delivery Body cannot add tokens to.
	ignoredDelivery = "delivery"
	// ignoredNoSubject: the response has Postern-Claims only.
	ignoredNoSubject = "no-subject"
)

// advice says for each reason what to change.
func advice(reason string) string {
	switch reason {
	case ignoredTokens:
		return "add the section tokens to the policy"
	case ignoredRoute:
		return "add the method and path to tokens.login"
	case ignoredStatus:
		return "respond with 2xx, or with delivery Cookie also with 302 or 303"
	case ignoredDelivery:
		return "set tokens.delivery to Cookie, or respond with 2xx"
	default:
		return "add the header Postern-Subject"
	}
}

// logEvery is the minimum pause between two warnings for the same reason: an app may set the fields on every response.
const logEvery = time.Minute

// ignored reports responses whose Postern-Subject or Postern-Claims have no effect. It is safe for concurrent use.
type ignored struct {
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	logged map[string]time.Time
}

func newIgnored(logger *slog.Logger, now func() time.Time) *ignored {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return &ignored{logger: logger, now: now, logged: map[string]time.Time{}}
}

// report logs and counts the app's response, if it has one of the fields.
func (g *ignored) report(r *http.Request, reason string) {
	info := request.From(r)
	if len(info.AppFields[subjectField]) == 0 && len(info.AppFields[claimsField]) == 0 {
		return
	}
	info.Emit(event.Event{Kind: event.LoginIgnored, Outcome: event.Refused, Reason: reason})
	if g.due(reason) {
		g.logger.WarnContext(r.Context(), "login of the app ignored", "reason", reason, "change", advice(reason), "method", r.Method, "path", info.Path)
	}
}

// due reports whether the reason may be logged now.
func (g *ignored) due(reason string) bool {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if last, ok := g.logged[reason]; ok && now.Sub(last) < logEvery {
		return false
	}
	g.logged[reason] = now
	return true
}

// NewIgnoring returns the stage for a policy that issues no tokens: it reports the app's fields, which have no effect there.
func NewIgnoring(logger *slog.Logger) (stage.Stage, error) {
	if logger == nil {
		return nil, errors.New("building the login stage: a logger is required")
	}
	g := newIgnored(logger, nil)
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			defer g.report(r, ignoredTokens)
			return next.ServeHTTP(w, r)
		})
	}, nil
}
