package check

import (
	"slices"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/compiled"
)

// requestID checks a section of the SidecarClass, and that the policy does not use its header for something else.
func (c *checker) requestID(p *compiled.Policy) {
	const field = "sidecarClass.spec.requestID"
	r := p.Sidecar.RequestID
	if r == nil {
		return
	}
	c.add(field+".fromClients", oneOf(r.FromClients, compiled.RequestIDNever, compiled.RequestIDTrustedProxies, compiled.RequestIDAlways))
	if err := ResponseFieldName(r.Header); err != nil {
		c.add(field+".header", err)
		return
	}
	taken := slices.Concat(fieldset.HTTP(), fieldset.HopByHop(), fieldset.Reserved(), fieldset.Forwarding(), fieldset.Overriding(), []string{"Authorization", "Cookie"})
	if fieldset.New(taken...).Has(r.Header) {
		c.addf(field+".header", "%s has another meaning in HTTP; write a header that nothing else uses, for example %s", r.Header, compiled.DefaultRequestIDHeader)
	}
	if fieldset.New(usedHeaders(p)...).Has(r.Header) {
		c.addf(field+".header", "the policy uses %s for an identity or a credential; write another header, for example %s", r.Header, compiled.DefaultRequestIDHeader)
	}
}

// usedHeaders returns the request headers in which the policy reads credentials, or tells the app about the identity.
func usedHeaders(p *compiled.Policy) []string {
	names := append(p.IdentityHeaders(), p.APIKeys.CredentialHeaders()...)
	for i := range p.Providers {
		for _, from := range p.Providers[i].From {
			if from.Header != "" {
				names = append(names, from.Header)
			}
		}
	}
	if l := p.LoginProtection; l != nil && l.Challenge != nil {
		names = append(names, l.Challenge.Header)
	}
	return names
}
