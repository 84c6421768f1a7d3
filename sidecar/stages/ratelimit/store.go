package ratelimit

import (
	"context"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

// Store counts requests. There are two implementations: ratelimitredis, shared by all replicas, and ratelimitmemory,
// for one process. In a Redis cluster all keys of one call must share a hash tag, as the keys of one Limiter do.
type Store interface {
	// Take decides on all limits of a request in one atomic step. If an enforced limit (Shadow is false) has no quota
	// left, nothing is counted. Otherwise every limit that has quota left is counted. Keys must be distinct. The
	// results are in the order of the requests. After an error it is unknown whether the request was counted.
	Take(ctx context.Context, requests []Request) ([]Result, error)
	// Peek decides as Take does and counts nothing: Remaining is of the quota as it is. Use it for what is charged
	// later.
	Peek(ctx context.Context, requests []Request) ([]Result, error)
	// Charge counts every request in one atomic step, also beyond the quota, up to Rate.Debt. Allowed says whether
	// there was quota left. Remaining and Next are those after the charge. Shadow makes no difference.
	Charge(ctx context.Context, requests []Request) ([]Result, error)
}

// Direct is a Store that decides in this process: it waits for nothing, never fails, and keeps nothing of its arguments.
type Direct interface {
	Store
	// Decide appends to results what Take returns, or Peek if take is false. The keys may be in Request.Raw.
	Decide(results []Result, requests []Request, take bool) []Result
}

// Request asks for quota under a key.
type Request struct {
	Key string
	// Raw replaces Key in calls of Direct.Decide, if it is not nil.
	Raw  []byte
	Rate gcra.Rate
	// Cost is the number of requests as which this one counts; 0 is 1.
	Cost int
	// Later says that the request is charged later: Take decides whether there is quota left, and counts nothing for it.
	Later bool
	// Shadow limits never prevent the other limits from being counted.
	Shadow bool
}

// Result is the decision of one limit.
type Result struct {
	// Allowed says that the limit had quota left. Take counted the request only if no other limit refused it.
	Allowed bool
	// Remaining is the number of requests that are allowed now.
	Remaining int
	// Next is the time until one more request is allowed; if Allowed is false, until one of the same cost is. An earlier
	// request is refused.
	Next time.Duration
}

// Units returns the cost, at least 1. It is bounded by what a key can use at all, so that sums stay exact.
func (r *Request) Units() int { return min(max(r.Cost, 1), r.Rate.Burst+r.Rate.Debt+1) }

// NewResult returns the result of a decision, if used of the quota is used after it. The Next of a refusal is when the
// whole cost is available.
func NewResult(r Request, used time.Duration, allowed bool) Result {
	result := ChargedResult(r, used, allowed)
	if !allowed {
		result.Next = max(result.Next, r.Rate.Wait(used, r.Units()))
	}
	return result
}

// ChargedResult returns the result of a charge, if used of the quota is used after it.
func ChargedResult(r Request, used time.Duration, allowed bool) Result {
	result := Result{Allowed: allowed}
	result.Remaining, result.Next = r.Rate.Left(used)
	return result
}
