package chain

import "github.com/posterndev/postern/api/compiled"

// reliedOn returns the header fields that the policy's rules read or set, in addition to those that every policy relies on. A
// client's Connection field cannot remove them, and a client cannot send them as trailers, which no rule checks.
func (b *builder) reliedOn() []string {
	p := b.policy
	names := append(p.IdentityHeaders(), tokenHeaders(p)...)
	for i := range p.RateLimits {
		for _, key := range p.RateLimits[i].KeyBy {
			if key.Type == compiled.KeyHeader {
				names = append(names, key.Name)
			}
		}
	}
	return append(names, b.conditionHeaders()...)
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
