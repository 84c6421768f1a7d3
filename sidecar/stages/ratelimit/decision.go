package ratelimit

import (
	"context"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// decision is the memory in which one request is decided. A later request reuses it.
type decision struct {
	hits     []hit
	keys     []byte
	requests []Request
	results  []Result
	shown    shownFields
}

// maxKeys bounds the memory of keys that is kept for later requests.
const maxKeys = 8 << 10

func (l *Limiter) decision() *decision {
	if d, ok := l.decisions.Get().(*decision); ok {
		return d
	}
	return &decision{}
}

// keep keeps the memory of a decision that is made.
func (l *Limiter) keep(d *decision) {
	if cap(d.keys) <= maxKeys {
		clear(d.hits) // they hold keys that were moved
		d.hits, d.keys, d.requests, d.results = d.hits[:0], d.keys[:0], d.requests[:0], d.results[:0]
		d.shown = shownFields{limit: d.shown.limit[:0], policy: d.shown.policy[:0]}
		l.decisions.Put(d)
	}
}

// collect finds the rules that apply to a request.
func (d *decision) collect(r *http.Request, info *request.Info, rules []rule) {
	target := info.Target()
	for i := range rules {
		rule := &rules[i]
		if !rule.matches(r.Method, &target) || rule.exempt.covers(info) {
			continue
		}
		plan := rule.planOf(info)
		begin := len(d.keys)
		d.keys = rule.keys.appendKey(d.keys, r, info, plan.value)
		d.hits = append(d.hits, hit{rule: rule, plan: plan, key: d.keys[begin:len(d.keys):len(d.keys)]})
		info.Note(rule.name, rule.keys.kinds)
	}
}

// hitsOf returns the rules that apply to a request, in memory of their own.
func hitsOf(r *http.Request, info *request.Info, rules []rule) []hit {
	var d decision
	d.collect(r, info, rules)
	return d.hits
}

// ask asks a store. Only a Direct one gets the memory of d, because another may keep its arguments.
func (d *decision) ask(ctx context.Context, s Store, info *request.Info, take bool) ([]Result, error) {
	if direct, ok := s.(Direct); ok {
		d.requests = d.requests[:0]
		for i := range d.hits {
			one := d.hits[i].request(info)
			one.Raw = d.hits[i].key
			d.requests = append(d.requests, one)
		}
		d.results = direct.Decide(d.results[:0], d.requests, take)
		return d.results, nil
	}
	requests := requestsOf(info, d.hits)
	if take {
		return s.Take(ctx, requests)
	}
	return s.Peek(ctx, requests)
}

func requestsOf(info *request.Info, hits []hit) []Request {
	requests := make([]Request, len(hits))
	for i := range hits {
		requests[i] = hits[i].request(info)
		requests[i].Key = string(hits[i].key)
	}
	return requests
}

// request returns what a store is asked about the hit, without the key.
func (h *hit) request(info *request.Info) Request {
	return Request{Rate: h.plan.rate, Cost: h.rule.cost, Later: h.rule.costFrom != nil, Shadow: h.rule.shadow || info.Shadow}
}
