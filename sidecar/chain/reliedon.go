package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/xfcc"
)

// reliedOn returns the header fields that the policy's rules read or set, in addition to those that every policy relies on. A
// client's Connection field cannot remove them, and a client cannot send them as trailers, which no rule checks.
func (b *builder) reliedOn() []string {
	p := b.policy
	names := append(p.IdentityHeaders(), tokenHeaders(p)...)
	names = append(names, proofHeaders(p)...)
	for i := range p.RateLimits {
		for _, key := range p.RateLimits[i].KeyBy {
			if key.Type == compiled.KeyHeader {
				names = append(names, key.Name)
			}
		}
	}
	names = append(names, requestIDHeader(p))
	names = append(names, loginHeaders(p.LoginProtection)...)
	return append(names, b.conditionHeaders()...)
}

// loginHeaders returns the header fields from which attempts to log in are read. An app that reads X_Account as X-Account would otherwise check
// the password of an account that nothing has counted.
func loginHeaders(p *compiled.LoginProtection) []string {
	if p == nil {
		return nil
	}
	var names []string
	for i := range p.Routes {
		for _, f := range []*compiled.RequestField{&p.Routes[i].Account, p.Routes[i].Password} {
			if f != nil && f.Header != "" {
				names = append(names, f.Header)
			}
		}
	}
	if p.Challenge != nil {
		names = append(names, p.Challenge.Header)
	}
	return names
}

// tokenHeaders returns the header fields from which authentication reads tokens. A deleted policy has none.
func tokenHeaders(p *compiled.Policy) []string {
	var names []string
	if p.Deleted {
		return nil
	}
	for i := range p.Providers {
		for _, from := range p.Providers[i].From {
			if from.Header != "" {
				names = append(names, from.Header)
			}
		}
	}
	names = append(names, p.APIKeys.CredentialHeaders()...)
	return names
}

// proofHeaders returns the header fields that prove that a client has the key of its token.
func proofHeaders(p *compiled.Policy) []string {
	if p.Deleted || len(p.Providers) == 0 {
		return nil
	}
	return []string{"DPoP", xfcc.Header}
}
