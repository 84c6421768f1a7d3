// Package ratelimit limits the request rate of clients, and how many of their requests are in progress at once. For the rate it has two stages, before and after authentication. Before
// refuses requests that are known to be refused, and counts the requests that authentication or authorization
// refuses. After knows the identity and counts all other requests. In both cases all limits of one request are
// counted in one step and one round trip.
//
// The stages refuse with 429, and with 503 if the store is unavailable and a rule's OnFailure is Deny. After may be
// followed by any stage. Before must come before the stage that sets the identity.
//
// If only the outcome decides whether a request counts, such as a failed login, Peek decides before the outcome and
// Charge counts after it. Use the rules of one limiter either with its stages, or with Peek and Charge.
//
// If the response says what a request cost, such as the tokens that a model used, After decides whether anything is left,
// and the stage Charges, next to the app, counts the cost after the response.
//
// The stage Places, after After, limits the requests in progress. It refuses in the same way, and releases the place of a request
// when the stages after it return, also by a panic.
package ratelimit

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// OnFailure says what happens to a rule's requests while the store is unavailable.
type OnFailure string

// Deny responds with 503. Allow uses the local store instead: the limit then applies to each pod separately.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// Rule is one limit.
type Rule struct {
	// Name is the policy's name of the rule. The client sees it in the RateLimit fields, unless the rule is in shadow
	// mode.
	Name string
	// Match selects the requests; nil selects all.
	Match *route.Matcher
	// MaxInFlight is how many requests with the same key may be in progress at once; 0 for no such limit. Only Places looks at it.
	MaxInFlight int
	// Limit is the number of requests per Period; Burst of them may come at once (Limit if 0). It may be 0 if MaxInFlight is set.
	Limit  int
	Period time.Duration
	Burst  int
	// ByClaim replaces Limit, Period and Burst for some identities; nil for none.
	ByClaim *ByClaim
	// Exempt selects requests to which the rule does not apply.
	Exempt Exemption
	// Cost is the number of requests as which one counts, at most the burst; 0 is 1.
	Cost int
	// CostFrom is where the response says what the request cost; nil if every request costs the same. Take then only
	// decides whether anything is left, and Charges counts.
	CostFrom *CostFrom
	// Debt is how many requests Charge counts beyond the quota (gcra.Rate).
	Debt int
	// KeyBy says which requests are counted together; at least one part.
	KeyBy []KeyPart
	// IPv6PrefixLength is the length in bits of the IPv6 networks that count as one client, 1 to 128; 0 is 64.
	IPv6PrefixLength int
	// Shadow decides and records, but refuses nothing.
	Shadow    bool
	OnFailure OnFailure
}

// Config describes a policy's limits.
type Config struct {
	Rules []Rule
	// Scope is the policy's "namespace/name". Counters of different policies are separate.
	Scope string
	// Store counts. Local replaces it while it is unavailable; it may be the same store.
	Store, Local Store
	// Places count the requests of rules with MaxInFlight; required for those.
	Places *inflight.Places
	// Now is the clock of the remembered refusals; time.Now if nil.
	Now func() time.Time
	// Metrics and Logger see the charges of rules with CostFrom. They may be nil.
	Metrics *Metrics
	Logger  *slog.Logger
}

// Limiter holds a policy's compiled limits. It is safe for concurrent use.
type Limiter struct {
	rules []rule
	// open are the rules whose keys need no identity. recalled are those of them whose limit and exemption need none
	// either, so that Before can know what After will decide.
	open, recalled []rule
	// charged are the rules with CostFrom.
	charged []rule
	// usual is the RateLimit-Policy of a request to which every rule applies with its own limit.
	usual []string
	// decisions has *decision.
	decisions sync.Pool
	// concurrent are the rules with MaxInFlight.
	concurrent   []concurrency
	places       *inflight.Places
	store, local Store
	refused      *refusals
	metrics      *Metrics
	logger       *slog.Logger
	now          func() time.Time
	// lossLogged is when a lost charge was logged last, in Unix seconds.
	lossLogged atomic.Int64
}

// rule is a compiled Rule.
type rule struct {
	name      string
	match     *route.Matcher
	base      plan
	plans     plans
	exempt    Exemption
	cost      int
	costFrom  *CostFrom
	shadow    bool
	onFailure OnFailure
	keys      keyBuilder
}

// New compiles c. The error names the invalid rule.
func New(c Config) (*Limiter, error) {
	if c.Store == nil || c.Local == nil {
		return nil, errors.New("compiling rate limits: Store and Local are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{store: c.Store, local: c.Local, places: c.Places, refused: newRefusals(c.Now), metrics: c.Metrics, logger: c.Logger, now: c.Now}
	space := keyspace.New("ratelimit", c.Scope)
	seen := map[string]bool{}
	for _, r := range c.Rules {
		err := l.add(r, space)
		if err == nil && seen[r.Name] {
			err = errors.New("another rule has the same name")
		}
		if err != nil {
			return nil, fmt.Errorf("compiling rate limit %q: %w", r.Name, err)
		}
		seen[r.Name] = true
	}
	l.usual = usualPolicy(l.rules)
	return l, nil
}

// add compiles a rule: its rate, its requests in progress, or both.
func (l *Limiter) add(r Rule, space keyspace.Keyspace) error {
	if r.MaxInFlight != 0 {
		if err := l.addConcurrency(r, space); err != nil || r.Limit == 0 {
			return err
		}
	}
	compiled, err := compile(r, space)
	if err != nil {
		return err
	}
	l.rules = append(l.rules, compiled)
	if compiled.costFrom != nil {
		l.charged = append(l.charged, compiled)
	}
	if !compiled.keys.needIdentity {
		l.open = append(l.open, compiled)
		if compiled.plans.claim == "" && len(compiled.exempt.Claims) == 0 {
			l.recalled = append(l.recalled, compiled)
		}
	}
	return nil
}

func compile(r Rule, space keyspace.Keyspace) (rule, error) {
	if err := r.CostFrom.check(&r); err != nil {
		return rule{}, err
	}
	base, err := newPlan(&r, Plan{Limit: r.Limit, Period: r.Period, Burst: r.Burst})
	if err != nil {
		return rule{}, err
	}
	byClaim, err := newPlans(&r)
	if err != nil {
		return rule{}, err
	}
	keys, err := newKeys(space, &r)
	if err != nil {
		return rule{}, err
	}
	return rule{
		name: r.Name, match: r.Match, base: base, plans: byClaim, exempt: r.Exempt, cost: max(r.Cost, 1), costFrom: r.CostFrom, shadow: r.Shadow,
		onFailure: r.OnFailure, keys: keys,
	}, nil
}

// newKeys checks what both kinds of limits need, and returns the keys of a rule.
func newKeys(space keyspace.Keyspace, r *Rule) (keyBuilder, error) {
	if r.OnFailure != Deny && r.OnFailure != Allow {
		return keyBuilder{}, fmt.Errorf("onFailure %q must be %s or %s", r.OnFailure, Deny, Allow)
	}
	if err := check.LimitName(r.Name); err != nil {
		return keyBuilder{}, err
	}
	return newKeyBuilder(space, r)
}

// matches reports whether the rule applies to a request: in any reading of its path.
func (r *rule) matches(method string, target *route.Target) bool {
	return r.match == nil || r.match.MatchAny(method, target)
}

// planOf returns the limit that the rule has for a request.
func (r *rule) planOf(info *request.Info) *plan {
	if p := r.plans.of(info.Identity); p != nil {
		return p
	}
	return &r.base
}
