package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStale: what is known of revocations is too old to go by.
var ErrStale = errors.New("what is revoked is not known well enough")

// Judge is a Checker's word where that is to be had, by the policy's rules for when it is not. It is for whoever gives out or
// vouches for tokens; the stage refuses requests by the same rules.
type Judge struct {
	Index Checker
	// OnFailure and MaxStaleness are Config's.
	OnFailure    OnFailure
	MaxStaleness time.Duration
}

// Revoked reports whether a token is revoked. With Deny it fails with ErrStale, or with the store's error, where that is not
// known; with Allow it never fails.
func (j Judge) Revoked(ctx context.Context, q *Query) (bool, error) {
	revoked, err := j.Index.Revoked(ctx, q)
	switch {
	case revoked:
		return true, nil
	case j.OnFailure == Allow:
		return false, nil
	case err != nil:
		return false, err
	}
	most := j.MaxStaleness
	if most == 0 {
		most = DefaultMaxStaleness
	}
	if age := j.Index.Age(); age > most {
		return false, fmt.Errorf("%w: the index is %s old", ErrStale, age)
	}
	return false, nil
}
