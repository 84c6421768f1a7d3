package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// verified is a verified token, with everything that a later request with it needs. It is immutable.
type verified struct {
	provider *provider
	key      *jwks.Key
	dates    jwt.Dates
	identity *identity.Identity
	actor    event.Actor
	headers  []header
	bound    *bound // nil if every client that has the token may use it
}

// verify returns the verified token. It uses the cache if the token was verified before and its key and dates are still valid.
// Only valid tokens are cached, so that an attacker's tokens use no memory. The proof of a token's client is never cached. The error is a
// jwt.Reason, which may have a cause.
func (a *authenticator) verify(r *http.Request, info *request.Info, c credential) (*verified, error) {
	if v, ok := a.cache.Get(c.token); ok {
		if v.provider.accepts(c) && v.provider.Keys.Holds(v.key) && v.provider.rules.CheckDates(v.dates, a.now()) == nil {
			return a.confirmed(r, info, c, v, true)
		}
		a.cache.Remove(c.token)
	}
	p, v, err := a.verifyToken(r.Context(), c)
	if err != nil {
		emitRefused(info, p, err)
		return nil, err
	}
	a.cache.Put(c.token, v, len(c.token))
	return a.confirmed(r, info, c, v, false)
}

// confirmed returns v if the client has the key that the token is bound to.
func (a *authenticator) confirmed(r *http.Request, info *request.Info, c credential, v *verified, cached bool) (*verified, error) {
	if err := a.confirm(r, c, v); err != nil {
		emitRefused(info, v.provider, err)
		return nil, err
	}
	v.emit(info, cached)
	return v, nil
}

// verifyToken verifies a token without the cache. If it refuses the token, it still returns the provider that the token names,
// if any.
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
	bound, err := p.bindingOf(token, c.token)
	if err != nil {
		return p, nil, err
	}
	sid, _ := id.Claims["sid"].(string)
	return p, &verified{
		provider: p, key: token.Key, dates: token.Dates, identity: id, headers: headers, bound: bound,
		actor: event.Actor{Provider: p.Name, Issuer: p.Issuer, Subject: id.Subject, Session: sid, TokenID: id.TokenID},
	}, nil
}

// emit emits token_verified. The actor of the token is set for this event and later ones of the request.
func (v *verified) emit(info *request.Info, cached bool) {
	info.Actor = v.actor
	info.Emit(event.Event{Kind: event.TokenVerified, Outcome: event.Success, Cached: cached})
}

// emitRefused emits token_refused. It names the provider whose rules the token does not meet, and nothing else of the token.
func emitRefused(info *request.Info, p *provider, err error) {
	e := event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: string(jwt.ReasonOf(err)), Claim: jwt.ClaimOf(err)}
	if p != nil {
		e.Provider, e.Issuer = p.Name, p.Issuer
	}
	if errors.Is(err, jwt.Unavailable) || errors.Is(err, reasonUsedUnknown) {
		e.Outcome = event.Failed
	}
	info.Emit(e)
}

// Verifier verifies tokens outside requests, by the same rules as the stage. It is safe for concurrent use.
type Verifier struct{ a *authenticator }

// NewVerifier returns a Verifier for the providers' tokens. A nil now means time.Now.
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
func (v *Verifier) Accepts(issuer string) bool {
	for _, p := range v.a.providers {
		if p.Issuer == issuer {
			return true
		}
	}
	return false
}

// Verify returns the identity of a token, or nil if the token is not valid. An error means that the issuer's keys are
// unavailable, so that the token cannot be verified at the moment.
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
