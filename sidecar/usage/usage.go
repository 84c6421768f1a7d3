// Package usage counts, for the people on call, what a policy's requests and logins are: requests by the pattern of their path, failed logins and
// requests for a new password by route, and the accounts and addresses with the most failures. It is a sink of the stream of events.
//
// Memory and labels are bounded. No label value comes from a client, but for the words of paths that the app served. Accounts and addresses
// are no labels; Top returns the most frequent of them.
package usage

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/usage/pattern"
	"github.com/posterndev/postern/sidecar/usage/topk"
)

// Config configures a Usage.
type Config struct {
	// Reasons are the reasons of the events LoginAttempt and ResetRequest, which get series from the start.
	Reasons []string
	// Now is time.Now if nil.
	Now func() time.Time
}

// Usage is a sink of events. There is one for the process, so that its counts survive new documents. It is safe for concurrent use.
type Usage struct {
	routes         *pattern.Table[counts]
	failed, resets *prometheus.CounterVec
	desc, learned  *prometheus.Desc
	reasons        []string

	accounts, logins, refusals *topk.Sketch

	mu sync.Mutex
	// declared are the names of the policy's routes by their metric.
	declared map[*prometheus.CounterVec][]string
}

// Bounds of the sketches: how many accounts or addresses each has, and the time after which a failure counts half.
const (
	sketchSize = 256
	halfLife   = 30 * time.Minute
)

// New registers the metrics.
func New(c Config, r prometheus.Registerer) (*Usage, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	u := &Usage{
		routes: pattern.New(func() *counts { return &counts{} }), reasons: c.Reasons,
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_failed_logins_total", Help: "Attempts to log in at protected routes that failed, by reason: what the app did (wrong_password, app_refused, app_error, aborted), or why it did not get the attempt (locked, challenge, unreadable, unavailable).",
		}, []string{"route", "reason"}),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_password_reset_requests_total", Help: "Requests for a new password at protected routes by result: ok, or the reason why the app did not accept them or did not get them.",
		}, []string{"route", "result"}),
		desc: prometheus.NewDesc("postern_route_requests_total",
			"Requests by pattern of the path (declared in the policy, or learned from paths that the app serves), method and class of the status.", []string{"route", "method", "code"}, nil),
		learned:  prometheus.NewDesc("postern_route_templates", fmt.Sprintf("Patterns that were learned from paths that the app serves, of at most %d.", pattern.MaxLearned), nil, nil),
		accounts: topk.New(sketchSize, halfLife, c.Now), logins: topk.New(sketchSize, halfLife, c.Now), refusals: topk.New(sketchSize, halfLife, c.Now),
		declared: map[*prometheus.CounterVec][]string{},
	}
	if err := r.Register(u); err != nil {
		return nil, fmt.Errorf("registering metrics of usage: %w", err)
	}
	return u, nil
}

// Policy is what the labels of a policy are made from.
type Policy struct {
	// Patterns are those of its rules, and the paths that the sidecar itself serves.
	Patterns   []string
	IgnoreCase bool
	// Logins and Resets are the names of its protected routes.
	Logins, Resets []string
}

// Declare adapts the metrics to the active policy.
func (u *Usage) Declare(p Policy) {
	slices.Sort(p.Patterns)
	u.routes.Declare(slices.Compact(p.Patterns), p.IgnoreCase)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.start(u.failed, p.Logins, u.reasons)
	u.start(u.resets, p.Resets, append([]string{"ok"}, u.reasons...))
}

// start creates the series of routes, because increase() does not count the event that creates one, and removes those of routes that the policy no longer has.
func (u *Usage) start(metric *prometheus.CounterVec, routes, values []string) {
	for _, route := range u.declared[metric] {
		if !slices.Contains(routes, route) {
			metric.DeletePartialMatch(prometheus.Labels{"route": route})
		}
	}
	u.declared[metric] = routes
	for _, route := range routes {
		for _, value := range values {
			metric.WithLabelValues(route, value)
		}
	}
}

// Kinds implements event.Sink.
func (*Usage) Kinds() event.Kinds {
	return event.Of(event.Request, event.LoginAttempt, event.ResetRequest, event.AuthorizationRefused, event.LimitHit, event.PasswordRefused, event.RequestRefused)
}

// Record implements event.Sink.
func (u *Usage) Record(e event.Event) {
	switch e.Kind {
	case event.Request:
		u.served(e.Served)
	case event.LoginAttempt:
		u.attempt(e)
	case event.ResetRequest:
		u.resets.WithLabelValues(e.Rule, e.Result()).Inc()
	default:
		if e.Outcome == event.Refused && e.ClientAddr.IsValid() {
			u.refusals.Add(network(e))
		}
	}
}

func (u *Usage) attempt(e event.Event) {
	if e.Outcome == event.Success {
		return
	}
	u.failed.WithLabelValues(e.Rule, e.Reason).Inc()
	if e.Outcome == event.Failed {
		return // of the app or of the store
	}
	if e.Account != "" {
		u.accounts.Add(e.Account)
	}
	if e.ClientAddr.IsValid() {
		u.logins.Add(network(e))
	}
}

func (u *Usage) served(s *event.Served) {
	ok := !s.Aborted && (s.Status >= 200 && s.Status < 300 || s.Status == http.StatusSwitchingProtocols)
	find := u.routes.Find
	if ok {
		find = u.routes.Served
	}
	find(s.Path).Value.add(s, ok)
}
