package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

// ByClaim replaces a rule's limit for identities whose claim has one of the values of Plans; the first that it has applies.
type ByClaim struct {
	// Claim is looked up by identity.Claim.
	Claim string
	Plans []Plan
}

// Plan is the limit for one value of a claim. Each plan has its own counters: a key whose plan changes begins with the
// whole quota of the new plan, and what it used under the old plan counts there only.
type Plan struct {
	// Value is a string, or a number or boolean as JSON writes it.
	Value string
	// Limit, Period and Burst are as in Rule.
	Limit  int
	Period time.Duration
	Burst  int
}

// plan is a compiled limit: the rule's own, or that of a value.
type plan struct {
	// value is empty for the rule's own limit.
	value  string
	rate   gcra.Rate
	fields fields
}

// newPlan compiles the limit p of the rule r.
func newPlan(r *Rule, p Plan) (plan, error) {
	if p.Burst == 0 {
		p.Burst = p.Limit
	}
	rate, err := gcra.NewRate(p.Limit, p.Period, p.Burst)
	if err != nil {
		return plan{}, err
	}
	debt := r.Debt
	if r.CostFrom != nil {
		debt = costDebt(p, rate)
	}
	if rate, err = rate.WithDebt(debt); err != nil {
		return plan{}, err
	}
	if r.Cost < 0 || r.Cost > p.Burst {
		return plan{}, fmt.Errorf("a cost of %d is negative, or more than the burst of %d, so every request would be refused", r.Cost, p.Burst)
	}
	return plan{value: p.Value, rate: rate, fields: newFields(r.Name, p.Limit, p.Period)}, nil
}

// plans selects a rule's limit by a claim.
type plans struct {
	claim  string
	values []plan
}

func newPlans(r *Rule) (plans, error) {
	if r.ByClaim == nil {
		return plans{}, nil
	}
	if r.ByClaim.Claim == "" || len(r.ByClaim.Plans) == 0 {
		return plans{}, errors.New("a limit by claim needs the name of a claim, and at least one value")
	}
	p := plans{claim: r.ByClaim.Claim}
	for _, by := range r.ByClaim.Plans {
		if by.Value == "" {
			return plans{}, errors.New("a value of a limit by claim is empty")
		}
		one, err := newPlan(r, by)
		if err != nil {
			return plans{}, fmt.Errorf("compiling the limit for the value %q: %w", by.Value, err)
		}
		p.values = append(p.values, one)
	}
	return p, nil
}

// of returns the first plan whose value the identity's claim has, or nil.
func (p *plans) of(id *identity.Identity) *plan {
	if p.claim == "" || id == nil {
		return nil
	}
	v, ok := id.Claim(p.claim)
	if !ok {
		return nil
	}
	for i := range p.values {
		if hasValue(v, p.values[i].value) {
			return &p.values[i]
		}
	}
	return nil
}

// hasValue reports whether a claim is want, or an array with such an element. A string is compared as a whole, because
// the name of a plan may have spaces.
func hasValue(claim any, want string) bool {
	if list, ok := claim.([]any); ok {
		for _, element := range list {
			if text, ok := identity.Scalar(element); ok && text == want {
				return true
			}
		}
		return false
	}
	text, ok := identity.Scalar(claim)
	return ok && text == want
}
