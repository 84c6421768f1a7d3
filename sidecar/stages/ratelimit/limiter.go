package ratelimit

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stageName is how decisions name this package.
const stageName = "ratelimit"

// retryStore is how long a client is told to wait for the store.
const retryStore = time.Second

// hit is a rule that applies to a request, and the key that it is counted under.
type hit struct {
	rule *rule
	key  string
}

// Before is the stage ahead of authentication. Of the rules that need no identity it refuses the keys that are known to
// have no quota; and if a later stage refuses a request before its limits were counted, as authentication does, it
// counts it under these rules, and answers 429 instead if one is exceeded. It is nil without rules.
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

// After is the stage behind authorization: it takes all of a request's limits at once. It is nil without rules.
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
				shows := &writer{Writer: response.Writer{ResponseWriter: w}, answer: shown}
				shows.OnHeader, w = shows, shows
			}
			return next.ServeHTTP(w, r)
		})
	}
}

// hits returns those of rules that apply to a request.
func (l *Limiter) hits(r *http.Request, info *request.Info, rules []rule) (hits []hit) {
	for i := range rules {
		if rule := &rules[i]; rule.matches(r.Method, info.Path) {
			hits = append(hits, hit{rule: rule, key: rule.keys.key(r, info)})
		}
	}
	return hits
}

// recall refuses what is known to be refused before the identity is.
func (l *Limiter) recall(w http.ResponseWriter, r *http.Request, info *request.Info) error {
	if l.refused.empty() {
		return nil
	}
	shown, err := l.known(info, l.hits(r, info, l.open))
	if err != nil {
		info.LimitsTaken = true
	}
	shown.set(w.Header())
	return err
}

// known refuses hits of which one is remembered as refused, without asking the store.
func (l *Limiter) known(info *request.Info, hits []hit) (shown answer, err error) {
	if info.Shadow {
		return answer{}, nil
	}
	var wait time.Duration
	var by *rule
	for _, h := range hits {
		if h.rule.shadow {
			continue
		}
		if left := l.refused.remaining(h.key); left > 0 {
			shown.add(&h.rule.fields, Result{Next: left})
			if left > wait {
				wait, by = left, h.rule
			}
		}
	}
	if by == nil {
		return answer{}, nil
	}
	return shown, info.Refuse(by.named(), tooMany(wait))
}

// take counts a request under rules, and returns the fields to show and the refusal.
func (l *Limiter) take(r *http.Request, info *request.Info, rules []rule) (answer, error) {
	info.LimitsTaken = true
	return l.decide(r, info, rules, Store.Take)
}

// Peek decides under every rule whether a request may go on, and counts nothing. The error refuses it, as After would; the
// refusal is recorded in the request's Info.
func (l *Limiter) Peek(r *http.Request) error {
	_, err := l.decide(r, request.From(r), l.rules, Store.Peek)
	return err
}

// Charge counts a request, as it was at Peek, under every rule, whether or not there is quota left, and also where the client has
// gone. While the store does not answer the local one counts.
func (l *Limiter) Charge(r *http.Request) {
	info := request.From(r)
	hits := l.hits(r, info, l.rules)
	if len(hits) == 0 {
		return
	}
	ctx, requests := context.WithoutCancel(r.Context()), requestsOf(info, hits)
	results, err := l.store.Charge(ctx, requests)
	if err != nil {
		if results, err = l.local.Charge(ctx, requests); err != nil {
			return // neither store counts; Peek refuses or lets pass by onFailure
		}
	}
	for i, result := range results {
		if result.Remaining == 0 && !requests[i].Shadow {
			l.refused.remember(hits[i].key, result.Next)
		}
	}
}

// operation is Store.Take or Store.Peek.
type operation func(s Store, ctx context.Context, requests []Request) ([]Result, error)

// decide asks the store about a request, and returns the fields to show and the refusal.
func (l *Limiter) decide(r *http.Request, info *request.Info, rules []rule, ask operation) (answer, error) {
	hits := l.hits(r, info, rules)
	if len(hits) == 0 {
		return answer{}, nil
	}
	if shown, err := l.known(info, hits); err != nil {
		return shown, err
	}
	requests := requestsOf(info, hits)
	results, err := ask(l.store, r.Context(), requests)
	if err != nil {
		if err := refuseByDeny(info, hits, err); err != nil {
			return answer{}, err
		}
		if results, err = ask(l.local, r.Context(), requests); err != nil {
			return answer{}, info.Refuse(request.Rule{Stage: stageName}, storeAway(err))
		}
	}
	return l.judge(info, hits, results)
}

func requestsOf(info *request.Info, hits []hit) []Request {
	requests := make([]Request, len(hits))
	for i, h := range hits {
		requests[i] = Request{Key: h.key, Rate: h.rule.rate, Shadow: h.rule.shadow || info.Shadow}
	}
	return requests
}

// refuseByDeny refuses where the store failed by cause and an enforced rule says Deny. Otherwise the local store stands in.
func refuseByDeny(info *request.Info, hits []hit, cause error) error {
	for _, h := range hits {
		if h.rule.onFailure == Deny {
			if err := info.Refuse(h.rule.named(), storeAway(cause)); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge records every refusal and returns that of the rule which is exceeded for longest.
func (l *Limiter) judge(info *request.Info, hits []hit, results []Result) (shown answer, refusal error) {
	var wait time.Duration
	for i, result := range results {
		rule := hits[i].rule
		if !rule.shadow && !info.Shadow {
			shown.add(&rule.fields, result)
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

func storeAway(cause error) *httperr.Error {
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "rate-limit-unavailable",
		Detail: "Requests cannot be counted at the moment. Try again shortly.", Cause: cause,
	}
	return e.With("Retry-After", strconv.FormatInt(seconds(retryStore), 10))
}
