package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stageName is the name of this package in decisions.
const stageName = "ratelimit"

// retryStore is how long a client is told to wait while the store is unavailable.
const retryStore = time.Second

// hit is a rule that applies to a request, with the limit that it has for the request's identity, and the key under
// which the request is counted.
type hit struct {
	rule *rule
	plan *plan
	key  []byte
}

// Before returns the stage before authentication. For the rules whose key, limit and exemptions need no identity, it
// refuses keys that are known to have no quota. If a later stage, such as authentication, refuses a request before its limits were counted,
// Before counts the request under these rules, and refuses with 429 instead if a limit is exceeded. Before returns
// nil if there are no rules.
func (l *Limiter) Before() stage.Stage {
	if len(l.open) == 0 {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			if err := l.recall(w, r, info); err != nil {
				return err
			}
			err := next.ServeHTTP(w, r)
			if err == nil || info.LimitsTaken {
				return err
			}
			limited := l.take(r, info, l.open)
			set(w.Header(), info)
			if limited != nil {
				return limited
			}
			return err
		})
	}
}

// After returns the stage after authorization. It counts all of a request's limits in one step. It returns nil if there are
// no rules.
func (l *Limiter) After() stage.Stage {
	if len(l.rules) == 0 {
		return nil
	}
	// The app sets its own fields after the stage has set ours, so they are set again.
	again := response.Decorate(func(r *http.Request, _ int, h http.Header) { set(h, request.From(r)) })
	return func(next stage.Handler) stage.Handler {
		showing := again(next)
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			err := l.take(r, info, l.rules)
			set(w.Header(), info)
			switch {
			case err != nil:
				return err
			case info.RateLimit == nil:
				return next.ServeHTTP(w, r)
			}
			return showing.ServeHTTP(w, r)
		})
	}
}

// recall refuses requests that are known to be refused, before the identity is known.
func (l *Limiter) recall(w http.ResponseWriter, r *http.Request, info *request.Info) error {
	if l.refused.empty() {
		return nil
	}
	d := l.decision()
	defer l.keep(d)
	d.collect(r, info, l.recalled)
	err := l.known(info, d)
	if err != nil {
		info.LimitsTaken = true
	}
	set(w.Header(), info)
	return err
}

// known refuses the request if one of the hits is remembered as refused. It does not ask the store.
func (l *Limiter) known(info *request.Info, d *decision) error {
	if info.Shadow || l.refused.empty() {
		return nil
	}
	var wait time.Duration
	var by *rule
	for _, h := range d.hits {
		if h.rule.shadow {
			continue
		}
		if left := l.refused.remaining(h.key); left > 0 {
			d.shown.add(&h.plan.fields, Result{Next: left})
			if left > wait {
				wait, by = left, h.rule
			}
		}
	}
	if by == nil {
		return nil
	}
	d.shown.lines(info, l.usual)
	return info.Refuse(by.named(), tooMany(wait))
}

// take counts a request under rules. It returns the refusal. The fields to show are in info.
func (l *Limiter) take(r *http.Request, info *request.Info, rules []rule) error {
	info.LimitsTaken = true
	return l.decide(r, info, rules, true)
}

// Peek decides under every rule whether a request is allowed, and counts nothing. The error refuses the request, as
// After would. The refusal is recorded in the request's Info.
func (l *Limiter) Peek(r *http.Request) error {
	info := request.From(r)
	limit, policy := info.RateLimit, info.RateLimitPolicy
	err := l.decide(r, info, l.rules, false)
	info.RateLimit, info.RateLimitPolicy = limit, policy
	return err
}

// Charge counts a request, in its state at Peek, under every rule. It counts also if there is no quota left and if
// the client has disconnected. While the store is unavailable, the local store counts.
func (l *Limiter) Charge(r *http.Request) {
	info := request.From(r)
	hits := hitsOf(r, info, l.rules)
	if len(hits) == 0 {
		return
	}
	_ = l.charge(r, hits, requestsOf(info, hits)) // onFailure decides in Peek
}

// charge counts requests, which belong to the hits with the same index, in the local store if the other one is
// unavailable. It then returns the error of that one.
func (l *Limiter) charge(r *http.Request, hits []hit, requests []Request) error {
	ctx := context.WithoutCancel(r.Context())
	results, cause := l.store.Charge(ctx, requests)
	if cause != nil {
		var err error
		if results, err = l.local.Charge(ctx, requests); err != nil {
			return errors.Join(cause, err)
		}
	}
	for i, result := range results {
		if result.Remaining == 0 && !requests[i].Shadow {
			l.refused.remember(string(hits[i].key), result.Next)
		}
	}
	return cause
}

// decide asks the store about a request. It returns the refusal; the fields to show are in info.
func (l *Limiter) decide(r *http.Request, info *request.Info, rules []rule, take bool) error {
	d := l.decision()
	defer l.keep(d)
	d.collect(r, info, rules)
	if len(d.hits) == 0 {
		return nil
	}
	if err := l.known(info, d); err != nil {
		return err
	}
	results, err := d.ask(r.Context(), l.store, info, take)
	if err != nil {
		if err := refuseByDeny(info, d.hits, err); err != nil {
			return err
		}
		if results, err = d.ask(r.Context(), l.local, info, take); err != nil {
			return info.Refuse(request.Rule{Stage: stageName}, storeUnavailable(err))
		}
	}
	return l.judge(info, d, results)
}

// refuseByDeny refuses if the store failed with cause and an enforced rule says Deny. Otherwise the local store
// decides.
func refuseByDeny(info *request.Info, hits []hit, cause error) error {
	for _, h := range hits {
		if h.rule.onFailure == Deny {
			if err := info.Refuse(h.rule.named(), storeUnavailable(cause)); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge records every refusal. It returns the refusal of the rule with the longest wait.
func (l *Limiter) judge(info *request.Info, d *decision, results []Result) (refusal error) {
	var wait time.Duration
	for i, result := range results {
		rule := d.hits[i].rule
		if !rule.shadow && !info.Shadow {
			d.shown.add(&d.hits[i].plan.fields, result)
		}
		if result.Allowed {
			continue
		}
		err := info.Refuse(rule.named(), tooMany(result.Next))
		if err == nil {
			continue
		}
		l.refused.remember(string(d.hits[i].key), result.Next)
		if result.Next > wait {
			wait, refusal = result.Next, err
		}
	}
	d.shown.lines(info, l.usual)
	return refusal
}

func (r *rule) named() request.Rule {
	return request.Rule{Stage: stageName, Name: r.name, Shadow: r.shadow}
}

func tooMany(wait time.Duration) *httperr.Error {
	e := &httperr.Error{Status: http.StatusTooManyRequests, Code: "rate-limited", Detail: "Too many requests. Wait before you try again."}
	return e.With("Retry-After", strconv.FormatInt(seconds(wait), 10))
}

func storeUnavailable(cause error) *httperr.Error {
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "rate-limit-unavailable",
		Detail: "Requests cannot be counted at the moment. Try again shortly.", Cause: cause,
	}
	return e.With("Retry-After", strconv.FormatInt(seconds(retryStore), 10))
}
