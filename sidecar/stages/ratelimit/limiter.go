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
	key  string
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
			shown, limited := l.take(r, info, l.open)
			shown.set(w.Header())
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
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			shown, err := l.take(r, info, l.rules)
			shown.set(w.Header())
			if err != nil {
				return err
			}
			if shown.limit != "" {
				shows := &writer{Writer: response.Writer{ResponseWriter: w}, fields: shown}
				shows.OnHeader, w = shows, shows
			}
			return next.ServeHTTP(w, r)
		})
	}
}

// hits returns the rules that apply to a request.
func (l *Limiter) hits(r *http.Request, info *request.Info, rules []rule) (hits []hit) {
	target := info.Target()
	for i := range rules {
		if rule := &rules[i]; rule.matches(r.Method, &target) && !rule.exempt.covers(info) {
			hits = append(hits, rule.hit(r, info))
			info.Note(rule.name, rule.keys.kinds)
		}
	}
	return hits
}

// recall refuses requests that are known to be refused, before the identity is known.
func (l *Limiter) recall(w http.ResponseWriter, r *http.Request, info *request.Info) error {
	if l.refused.empty() {
		return nil
	}
	shown, err := l.known(info, l.hits(r, info, l.recalled))
	if err != nil {
		info.LimitsTaken = true
	}
	shown.set(w.Header())
	return err
}

// known refuses the request if one of the hits is remembered as refused. It does not ask the store.
func (l *Limiter) known(info *request.Info, hits []hit) (shown shownFields, err error) {
	if info.Shadow {
		return shownFields{}, nil
	}
	var wait time.Duration
	var by *rule
	for _, h := range hits {
		if h.rule.shadow {
			continue
		}
		if left := l.refused.remaining(h.key); left > 0 {
			shown.add(&h.plan.fields, Result{Next: left})
			if left > wait {
				wait, by = left, h.rule
			}
		}
	}
	if by == nil {
		return shownFields{}, nil
	}
	return shown, info.Refuse(by.named(), tooMany(wait))
}

// take counts a request under rules. It returns the fields to show and the refusal.
func (l *Limiter) take(r *http.Request, info *request.Info, rules []rule) (shownFields, error) {
	info.LimitsTaken = true
	return l.decide(r, info, rules, Store.Take)
}

// Peek decides under every rule whether a request is allowed, and counts nothing. The error refuses the request, as
// After would. The refusal is recorded in the request's Info.
func (l *Limiter) Peek(r *http.Request) error {
	_, err := l.decide(r, request.From(r), l.rules, Store.Peek)
	return err
}

// Charge counts a request, in its state at Peek, under every rule. It counts also if there is no quota left and if
// the client has disconnected. While the store is unavailable, the local store counts.
func (l *Limiter) Charge(r *http.Request) {
	info := request.From(r)
	hits := l.hits(r, info, l.rules)
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
			l.refused.remember(hits[i].key, result.Next)
		}
	}
	return cause
}

// operation is Store.Take or Store.Peek.
type operation func(s Store, ctx context.Context, requests []Request) ([]Result, error)

// decide asks the store about a request, and returns the fields to show and the refusal.
func (l *Limiter) decide(r *http.Request, info *request.Info, rules []rule, ask operation) (shownFields, error) {
	hits := l.hits(r, info, rules)
	if len(hits) == 0 {
		return shownFields{}, nil
	}
	if shown, err := l.known(info, hits); err != nil {
		return shown, err
	}
	requests := requestsOf(info, hits)
	results, err := ask(l.store, r.Context(), requests)
	if err != nil {
		if err := refuseByDeny(info, hits, err); err != nil {
			return shownFields{}, err
		}
		if results, err = ask(l.local, r.Context(), requests); err != nil {
			return shownFields{}, info.Refuse(request.Rule{Stage: stageName}, storeUnavailable(err))
		}
	}
	return l.judge(info, hits, results)
}

func requestsOf(info *request.Info, hits []hit) []Request {
	requests := make([]Request, len(hits))
	for i, h := range hits {
		requests[i] = Request{Key: h.key, Rate: h.plan.rate, Cost: h.rule.cost, Later: h.rule.costFrom != nil, Shadow: h.rule.shadow || info.Shadow}
	}
	return requests
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
func (l *Limiter) judge(info *request.Info, hits []hit, results []Result) (shown shownFields, refusal error) {
	var wait time.Duration
	for i, result := range results {
		rule := hits[i].rule
		if !rule.shadow && !info.Shadow {
			shown.add(&hits[i].plan.fields, result)
		}
		if result.Allowed {
			continue
		}
		err := info.Refuse(rule.named(), tooMany(result.Next))
		if err == nil {
			continue
		}
		l.refused.remember(hits[i].key, result.Next)
		if result.Next > wait {
			wait, refusal = result.Next, err
		}
	}
	return shown, refusal
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
