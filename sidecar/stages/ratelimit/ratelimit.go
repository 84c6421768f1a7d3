// Package ratelimit limits how often a client may ask. Its two stages stand around authentication: Before refuses what is
// known to be refused, and counts the requests that authentication or authorization refuses; After, with the identity
// known, counts all the others. Either way one request's limits are taken in one step and one round trip.
//
// The stages refuse with 429 and, where the store is away and a rule's OnFailure is Deny, with 503. After may call
// anything; Before must come earlier in the chain than whatever sets the identity.
//
// What counts only by its outcome, as a failed login does, is decided on with Peek before the outcome and counted with Charge
// after it. A limiter's rules are either taken by its stages, or peeked at and charged.
package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// OnFailure is what happens to a rule's requests while the store does not answer.
type OnFailure string

// Deny answers 503. Allow lets the local store stand in: the limit then holds for each pod by itself.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// Rule is one limit.
type Rule struct {
	// Name is the policy's name of the rule; the client sees it in RateLimit fields, unless Shadow.
	Name string
	// Match picks the requests; nil for all.
	Match *route.Matcher
	// Limit requests pass in each Period; Burst of them at once (Limit if 0).
	Limit  int
	Period time.Duration
	Burst  int
	// Debt is how many requests Charge counts beyond the quota (gcra.Rate).
	Debt int
	// KeyBy says whose requests are counted together; at least one part.
	KeyBy []KeyPart
	// Shadow decides and records, and lets pass.
	Shadow    bool
	OnFailure OnFailure
}

// Config describes a policy's limits.
type Config struct {
	Rules []Rule
	// Scope is the policy's "namespace/name": other policies' counters are apart.
	Scope string
	// Store counts; Local stands in for it, and may be the same.
	Store, Local Store
	// Now is the clock of the memory of refusals; time.Now if nil.
	Now func() time.Time
}

// Limiter is a policy's compiled limits. It is safe for concurrent use.
type Limiter struct {
	rules []rule
	// open are the rules whose keys need no identity.
	open         []rule
	store, local Store
	refused      *refusals
}

// rule is a compiled Rule.
type rule struct {
	name      string
	match     *route.Matcher
	rate      gcra.Rate
	shadow    bool
	onFailure OnFailure
	keys      keyBuilder
	fields    fields
}

// New compiles c. The error names the rule and says what is wrong with it.
func New(c Config) (*Limiter, error) {
	if c.Store == nil || c.Local == nil {
		return nil, errors.New("compiling rate limits: a store and a local store are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Limiter{store: c.Store, local: c.Local, refused: newRefusals(c.Now)}
	space := keyspace.New("ratelimit", c.Scope)
	seen := map[string]bool{}
	for _, r := range c.Rules {
		compiled, err := compile(r, space)
		if err == nil && seen[r.Name] {
			err = errors.New("another rule has the same name")
		}
		if err != nil {
			return nil, fmt.Errorf("compiling rate limit %q: %w", r.Name, err)
		}
		seen[r.Name] = true
		l.rules = append(l.rules, compiled)
		if !compiled.keys.needIdentity {
			l.open = append(l.open, compiled)
		}
	}
	return l, nil
}

func compile(r Rule, space keyspace.Keyspace) (rule, error) {
	if r.Burst == 0 {
		r.Burst = r.Limit
	}
	rate, err := gcra.NewRate(r.Limit, r.Period, r.Burst)
	if err != nil {
		return rule{}, err
	}
	if rate, err = rate.WithDebt(r.Debt); err != nil {
		return rule{}, err
	}
	if r.OnFailure != Deny && r.OnFailure != Allow {
		return rule{}, fmt.Errorf("onFailure %q is not %s or %s", r.OnFailure, Deny, Allow)
	}
	if err := check.LimitName(r.Name); err != nil {
		return rule{}, err
	}
	keys, err := newKeyBuilder(space, r.Name, r.KeyBy)
	if err != nil {
		return rule{}, err
	}
	return rule{
		name: r.Name, match: r.Match, rate: rate, shadow: r.Shadow, onFailure: r.OnFailure,
		keys: keys, fields: newFields(r.Name, r.Limit, r.Period),
	}, nil
}

// matches reports whether the rule is about a request.
func (r *rule) matches(method, path string) bool {
	return r.match == nil || r.match.Match(method, path)
}
