package chain

import (
	"context"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/resources"
)

// listed returns the revocations in the document.
func listed(p *compiled.Policy) []revocation.Entry {
	entries := make([]revocation.Entry, 0, len(p.RevokedTokens))
	for _, r := range p.RevokedTokens {
		entries = append(entries, revocation.Entry{
			Kind: revocation.Kind(r.Kind), Issuer: r.Issuer, Value: r.Value, Before: r.BeforeTime(), Expires: r.ExpiresAt(),
		})
	}
	return entries
}

// revocation returns the stage that removes the identity of revoked tokens, before their session is looked up.
func (b *builder) revocation() stage.Stage {
	r := b.policy.Revocation
	if b.stripCredentials == nil {
		return nil
	}
	if r == nil { // only the document's revocations count, and they are always available
		r = &compiled.Revocation{OnFailure: compiled.Deny, Mode: compiled.Enforce}
	}
	s, err := revocation.New(revocation.Config{
		Index: b.known, OnFailure: revocation.OnFailure(r.OnFailure), MaxStaleness: r.MaxStaleness.Std(),
		Shadow: r.Mode == compiled.Shadow, Realm: b.policy.Name, StripCredentials: b.stripCredentials, Current: &b.active.Tokens,
	})
	b.fail(err, "revocation")
	return s
}

// inShadow reports whether revocation is in shadow mode, so that revoked tokens pass.
func inShadow(p *compiled.Policy) bool {
	return p.Mode == compiled.Shadow || p.Revocation != nil && p.Revocation.Mode == compiled.Shadow
}

// verdicts returns the checker for the parts that issue or introspect tokens. In shadow mode nothing is revoked.
func (b *builder) verdicts() token.RevocationChecker {
	r := b.policy.Revocation
	if inShadow(b.policy) {
		return revocation.PolicyChecker{Index: revocation.Known{}, OnFailure: revocation.Allow}
	}
	if r == nil {
		return revocation.PolicyChecker{Index: b.known, OnFailure: revocation.Deny}
	}
	return revocation.PolicyChecker{Index: b.known, OnFailure: revocation.OnFailure(r.OnFailure), MaxStaleness: r.MaxStaleness.Std()}
}

// revoker returns nil if the policy accepts no tokens.
func (b *builder) revoker(sessionManager *token.SessionManager) *token.Revoker {
	var trusted []token.TrustedIssuer
	if t := b.policy.Tokens; t != nil {
		lifetime := t.AccessLifetime.Std()
		trusted = append(trusted, token.TrustedIssuer{
			Issuer: t.Issuer, Own: true, Lifetime: lifetime, SessionLifetime: lifetime + b.policy.Sessions.AbsoluteTimeout.Std(),
		})
	}
	for i := range b.policy.Providers {
		trusted = append(trusted, b.trusted(&b.policy.Providers[i]))
	}
	if len(trusted) == 0 {
		return nil
	}
	r, err := token.NewRevoker(token.RevokerConfig{Issuers: trusted, Sessions: sessionManager, Revocations: b.revocations, Events: b.events, Now: b.now})
	b.fail(err, "revocation")
	return r
}

func (b *builder) trusted(p *compiled.Provider) token.TrustedIssuer {
	t := token.TrustedIssuer{Issuer: p.Issuer, Lifetime: p.TokenLifetime(), SessionLifetime: p.TokenLifetime()}
	if s := b.policy.Sessions; s != nil && s.SubjectFrom != "" {
		t.SessionLifetime += s.AbsoluteTimeout.Std()
		t.BySession = s.SubjectFrom == string(session.FromSID)
	}
	return t
}

// own returns the ring without revoked keys.
func (b *builder) own() signing.Unrevoked {
	return signing.Unrevoked{Ring: b.ring, Revoked: func(kid string) bool {
		// If the lookup fails, the key stays in use: the revocation stage refuses the tokens that it signed.
		revoked, err := b.known.Revoked(context.Background(), &revocation.Query{Issuer: b.policy.Tokens.Issuer, KeyID: kid})
		return err == nil && revoked
	}}
}

// activation returns what the snapshot changes outside of itself. In shadow mode nothing is revoked and no session is ended.
func activation(p *compiled.Policy, built assembled) resources.Activation {
	a := resources.Activation{Recorded: built.known, Timeouts: resources.Timeouts(p), Listed: listed(p)}
	if !inShadow(p) {
		a.Tokens = built.known
		if p.Sessions != nil {
			a.Revoker = built.revoker
		}
	}
	if p.Mode != compiled.Shadow && (p.Sessions == nil || p.Sessions.Mode != compiled.Shadow) {
		a.Sessions = built.known
	}
	if p.Mode != compiled.Shadow && !p.Deleted {
		a.Files = built.files
	}
	return a
}
