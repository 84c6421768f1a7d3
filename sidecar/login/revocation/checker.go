package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Checker reports what is revoked. Index, Known and Current implement it.
type Checker interface {
	// Revoked reports whether a token is revoked.
	Revoked(ctx context.Context, q *Query) (bool, error)
	// Age is how long revocations may have been missed.
	Age() time.Duration
}

// ErrStale reports that the index is older than MaxStaleness.
var ErrStale = errors.New("the revocation index is too old")

// PolicyChecker applies a policy's OnFailure and MaxStaleness to a Checker. What issues or introspects tokens uses it; the stage
// refuses requests by the same rules.
type PolicyChecker struct {
	Index Checker
	// OnFailure and MaxStaleness are those of Config.
	OnFailure    OnFailure
	MaxStaleness time.Duration
}

// Revoked reports whether a token is revoked. If that is unknown, it fails with ErrStale or the store's error under Deny, and
// returns false under Allow.
func (p PolicyChecker) Revoked(ctx context.Context, q *Query) (bool, error) {
	revoked, err := p.Index.Revoked(ctx, q)
	switch {
	case revoked:
		return true, nil
	case p.OnFailure == Allow:
		return false, nil
	case err != nil:
		return false, err
	}
	limit := p.MaxStaleness
	if limit == 0 {
		limit = DefaultMaxStaleness
	}
	if age := p.Index.Age(); age > limit {
		return false, fmt.Errorf("%w: the index is %s old", ErrStale, age)
	}
	return false, nil
}
