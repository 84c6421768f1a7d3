package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// verified is a token that passed: everything that a later request with it needs. It is immutable.
type verified struct {
	provider *provider
	key      *jwks.Key
	dates    jwt.Dates
	identity *identity.Identity
	headers  []header
	size     int // of the token, in bytes
}

// verify returns what the token says, from memory where it was verified before and its key and dates still hold. Only
// tokens that passed are remembered: what an attacker makes up takes no memory. The error is a jwt.Reason, perhaps with a cause.
func (a *authenticator) verify(ctx context.Context, c credential) (*verified, error) {
	sum := sha256.Sum256([]byte(c.token))
	if v, ok := a.cache.get(sum); ok {
		if v.provider.accepts(c) && v.provider.Keys.Holds(v.key) && v.provider.rules.CheckDates(v.dates, a.now()) == nil {
			a.observe(v.provider, nil, true)
			return v, nil
		}
		a.cache.remove(sum)
	}
	p, v, err := a.verifyToken(ctx, c)
	a.observe(p, err, false)
	if err != nil {
		return nil, err
	}
	a.cache.add(sum, v)
	return v, nil
}

// verifyToken verifies a token that is not remembered. It also returns the provider that the token names, if any, where it
// refuses the token.
func (a *authenticator) verifyToken(ctx context.Context, c credential) (*provider, *verified, error) {
	parsed, err := jwt.Parse(c.token)
	if err != nil {
		return nil, nil, err
	}
	p := a.providers[parsed.Issuer()]
	switch {
	case p == nil:
		return nil, nil, jwt.UnknownIssuer
	case !p.accepts(c):
		return p, nil, reasonPlace
	}
	token, err := p.rules.Verify(ctx, parsed, a.now())
	if err != nil {
		return p, nil, err
	}
	id, err := newIdentity(p, token)
	if err != nil {
		return p, nil, err
	}
	headers, err := headersOf(p, id)
	if err != nil {
		return p, nil, err
	}
	return p, &verified{provider: p, key: token.Key, dates: token.Dates, identity: id, headers: headers, size: len(c.token)}, nil
}

func (a *authenticator) observe(p *provider, err error, cached bool) {
	if a.observer == nil {
		return
	}
	name, result := "", resultOK
	if p != nil {
		name = p.Name
	}
	if err != nil {
		result = string(jwt.ReasonOf(err))
	}
	a.observer.TokenVerified(name, result, cached)
}

// Verifier verifies single tokens, by the same rules as the stage verifies those of requests. It is safe for concurrent use.
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

// Verify returns what a token says, or nil where it is not valid. An error means that this is not known at present, because the
// issuer's keys are unavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (*identity.Identity, error) {
	_, found, err := v.a.verifyToken(ctx, credential{token: token, alone: true})
	switch {
	case err == nil:
		return found.identity, nil
	case errors.Is(err, jwt.Unavailable):
		return nil, fmt.Errorf("verifying token: %w", err)
	}
	return nil, nil
}
