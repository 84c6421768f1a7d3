package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// verified is a token that passed: everything that a later request with it needs. It is immutable.
type verified struct {
	provider *provider
	key      *jwks.Key
	times    times
	identity *identity.Identity
	headers  []header
	size     int // of the token, in bytes
}

// verify returns what the token says, from memory where it was verified before and its key and dates still hold. Only
// tokens that passed are remembered: what an attacker makes up takes no memory. The error is a Reason, with a cause.
func (a *authenticator) verify(ctx context.Context, c credential) (*verified, error) {
	sum := sha256.Sum256([]byte(c.token))
	if v, ok := a.cache.get(sum); ok {
		if v.provider.accepts(c) && v.provider.Keys.Holds(v.key) && v.times.check(v.provider, a.now()) == nil {
			a.observe(v.provider, nil, true)
			return v, nil
		}
		a.cache.remove(sum)
	}
	p, v, err := a.verifyAnew(ctx, c)
	a.observe(p, err, false)
	if err != nil {
		return nil, err
	}
	a.cache.add(sum, v)
	return v, nil
}

// verifyAnew also returns the provider that the token names, if any, where it refuses the token. What costs little is
// checked before the signature, so that a stale token does not cause a fetch of keys.
func (a *authenticator) verifyAnew(ctx context.Context, c credential) (*provider, *verified, error) {
	t, err := parse(c.token)
	if err != nil {
		return nil, nil, err
	}
	issuer, _ := t.claims["iss"].(string)
	p := a.providers[issuer]
	if p == nil {
		return nil, nil, reasonIssuer
	}
	if err := p.precheck(t, c); err != nil {
		return p, nil, err
	}
	dates, err := readTimes(t.claims)
	if err != nil {
		return p, nil, err
	}
	if err := dates.check(p, a.now()); err != nil {
		return p, nil, err
	}
	key, err := p.checkSignature(ctx, t)
	if err != nil {
		return p, nil, err
	}
	id, err := newIdentity(p, t.claims, dates)
	if err != nil {
		return p, nil, err
	}
	id.KeyID = key.ID()
	headers, err := headersOf(p, id)
	if err != nil {
		return p, nil, err
	}
	return p, &verified{provider: p, key: key, times: dates, identity: id, headers: headers, size: len(c.token)}, nil
}

// precheck is what can be refused without the clock or a key.
func (p *provider) precheck(t *token, c credential) error {
	typ := t.typ
	if typ == "" {
		typ = "JWT"
	}
	switch {
	case !p.accepts(c):
		return reasonPlace
	case !slices.Contains(p.types, mediaType(typ)):
		return reasonType
	case !slices.Contains(p.Algorithms, t.alg):
		return reasonAlgorithm
	}
	return checkAudience(p, t.claims)
}

// checkSignature returns the key of the issuer that signed the token. The keys are for t.alg and nothing else.
func (p *provider) checkSignature(ctx context.Context, t *token) (*jwks.Key, error) {
	keys, err := p.Keys.Lookup(ctx, t.kid, t.alg)
	switch {
	case errors.Is(err, jwks.ErrUnavailable):
		return nil, because(reasonUnavailable, err)
	case errors.Is(err, jwks.ErrAlgorithm):
		return nil, because(reasonAlgorithm, err)
	case err != nil:
		return nil, because(reasonKey, err)
	}
	cause := error(jwks.ErrUnknownKey)
	for _, key := range keys {
		if key.Algorithm() != t.alg {
			continue
		}
		if cause = key.Verify(t.signed, t.signature); cause == nil {
			return key, nil
		}
	}
	return nil, because(reasonSignature, cause)
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
		result = string(reasonOf(err))
	}
	a.observer.TokenVerified(name, result, cached)
}
