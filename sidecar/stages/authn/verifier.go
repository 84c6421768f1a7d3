package authn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Verifier verifies single tokens, by the very rules by which the stage verifies those of requests. It is safe for concurrent
// use.
type Verifier struct{ a *authenticator }

// NewVerifier returns one for the providers' tokens. Now is time.Now where nil.
func NewVerifier(providers []Provider, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	a := &authenticator{providers: map[string]*provider{}, now: now}
	if err := a.addProviders(providers); err != nil {
		return nil, err
	}
	return &Verifier{a}, nil
}

// Accepts reports whether tokens of the issuer are verified.
func (v *Verifier) Accepts(issuer string) bool { return v.a.providers[issuer] != nil }

// Verify returns what a token says, or nil where it is not good. The error says that this cannot be known at present, because
// the issuer's keys is unavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (*identity.Identity, error) {
	_, found, err := v.a.verifyAnew(ctx, credential{token: token, alone: true})
	switch {
	case err == nil:
		return found.identity, nil
	case errors.Is(err, reasonUnavailable):
		return nil, fmt.Errorf("verifying token: %w", err)
	}
	return nil, nil
}
