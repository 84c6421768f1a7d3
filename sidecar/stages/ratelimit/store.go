package ratelimit

import (
	"context"
	"time"

	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

// Store counts requests. Implementations: ratelimitredis, shared by every replica; ratelimitmemory, for one process. In a Redis
// cluster all keys of one call must share a hash tag, as those of one Limiter do.
type Store interface {
	// Take decides on all of a request's limits in one atomic step. Where any that is not Shadow has no quota left,
	// nothing is counted; otherwise every one that has quota left is. Keys are distinct. The results are in the order of
	// the requests. An error means that nothing is known, and perhaps that the request was counted.
	Take(ctx context.Context, requests []Request) ([]Result, error)
	// Peek decides as Take does and counts nothing: Remaining is of the quota as it is. It is for what is charged later.
	Peek(ctx context.Context, requests []Request) ([]Result, error)
	// Charge counts every request in one atomic step, also those that have no quota left: up to Rate.Debt beyond it. Allowed says
	// whether there was quota left; Remaining and Next are what the charge has left. Shadow makes no difference.
	Charge(ctx context.Context, requests []Request) ([]Result, error)
}

// Request asks for one request's worth of a key's quota.
type Request struct {
	Key  string
	Rate gcra.Rate
	// Shadow limits never stop the others from being counted.
	Shadow bool
}

// Result is what one limit decided.
type Result struct {
	// Allowed says that the limit had quota left; Take counted it only if no other one stood against it.
	Allowed bool
	// Remaining is the number of requests that may follow at once.
	Remaining int
	// Next is the time until there is one more; where Allowed is false, a request before that is in vain.
	Next time.Duration
}

// NewResult returns the result of a limit of which used is used afterwards.
func NewResult(rate gcra.Rate, used time.Duration, allowed bool) Result {
	r := Result{Allowed: allowed}
	r.Remaining, r.Next = rate.Left(used)
	return r
}
