package chain

import "github.com/posterndev/postern/api/compiled"

// reliedOn returns the header fields that the policy's rules read or set, in addition to those that every policy relies on. A
// client's Connection field cannot remove them, and a client cannot send them as trailers, which no rule checks.
func reliedOn(p *compiled.Policy) []string {
	names := p.IdentityHeaders()
	for i := range p.Providers {
		for _, from := range p.Providers[i].From {
			if from.Header != "" {
				names = append(names, from.Header)
			}
		}
	}
	for i := range p.RateLimits {
		for _, key := range p.RateLimits[i].KeyBy {
			if key.Type == compiled.KeyHeader {
				names = append(names, key.Name)
			}
		}
	}
	return names
}
