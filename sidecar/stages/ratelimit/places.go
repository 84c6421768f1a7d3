package ratelimit

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/upgraded"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// concurrency is the compiled MaxInFlight of a Rule.
type concurrency struct {
	name      string
	match     *route.Matcher
	max       int
	exempt    Exemption
	shadow    bool
	onFailure OnFailure
	keys      keyBuilder
}

// addConcurrency compiles the rule's MaxInFlight.
func (l *Limiter) addConcurrency(r Rule, space keyspace.Keyspace) error {
	if r.MaxInFlight < 1 {
		return fmt.Errorf("maxInFlight %d is not positive", r.MaxInFlight)
	}
	if l.places == nil {
		return errors.New("Places is required for a maxInFlight")
	}
	if r.Limit == 0 && (r.Burst != 0 || r.ByClaim != nil || r.Cost != 0 || r.CostFrom != nil) {
		return errors.New("a burst, a limit by claim and a cost need a limit")
	}
	keys, err := newKeys(space, &r)
	if err != nil {
		return err
	}
	keys.kind = inFlightTag
	l.concurrent = append(l.concurrent, concurrency{
		name: r.Name, match: r.Match, max: r.MaxInFlight, exempt: r.Exempt, shadow: r.Shadow, onFailure: r.OnFailure, keys: keys,
	})
	return nil
}

// Places returns the stage that limits requests in progress. The place of a request is held until the stages after this one return:
// for a stream until it ends, and for a WebSocket until its connection is closed. A request that is refused holds none. It returns nil
// if no rule has MaxInFlight.
func (l *Limiter) Places() stage.Stage {
	if len(l.concurrent) == 0 {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			held, err := l.enter(r, request.From(r))
			if err != nil {
				return err
			}
			defer upgraded.End(r.Context(), func() { held.Release(r.Context()) })
			return next.ServeHTTP(w, r)
		})
	}
}

// enter takes the places of a request, or refuses it.
func (l *Limiter) enter(r *http.Request, info *request.Info) (*inflight.Holding, error) {
	var rules []*concurrency
	var asks []inflight.Ask
	target := info.Target()
	for i := range l.concurrent {
		c := &l.concurrent[i]
		if c.match != nil && !c.match.MatchAny(r.Method, &target) || c.exempt.covers(info) {
			continue
		}
		rules = append(rules, c)
		asks = append(asks, inflight.Ask{Key: c.keys.key(r, info, ""), Max: c.max, Shadow: c.shadow || info.Shadow})
		info.Note(c.name, c.keys.kinds)
	}
	if len(rules) == 0 {
		return nil, nil
	}
	free, held, err := l.places.Acquire(r.Context(), asks, func(cause error) error { return refuseConcurrencyByDeny(info, rules, cause) })
	if _, refused := err.(*httperr.Error); err != nil && !refused {
		err = info.Refuse(request.Rule{Stage: stageName}, storeUnavailable(err))
	}
	if err != nil {
		return nil, err
	}
	if free == nil { // nobody counts, in shadow mode
		return nil, nil
	}
	for i, c := range rules {
		if free[i] {
			continue
		}
		if refusal := info.Refuse(c.named(), tooManyInFlight()); refusal != nil {
			err = refusal
		}
	}
	return held, err
}

// refuseConcurrencyByDeny refuses if the store failed with cause and an enforced rule says Deny. Otherwise this process decides.
func refuseConcurrencyByDeny(info *request.Info, rules []*concurrency, cause error) error {
	for _, c := range rules {
		if c.onFailure == Deny {
			if err := info.Refuse(c.named(), storeUnavailable(cause)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *concurrency) named() request.Rule {
	return request.Rule{Stage: stageName, Name: c.name, Shadow: c.shadow}
}

// tooManyInFlight refuses a request. Nobody knows when a place will be free, so a client is told to wait for a second.
func tooManyInFlight() *httperr.Error {
	e := &httperr.Error{
		Status: http.StatusTooManyRequests, Code: "too-many-in-flight", Detail: "Too many of your requests are in progress. Try again when one has ended.",
	}
	return e.With("Retry-After", "1")
}
