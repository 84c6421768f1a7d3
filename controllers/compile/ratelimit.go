package compile

import (
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// limitOptions converts what makes a limit depend on the caller.
func (c *compiler) limitOptions(field string, in *v1alpha1.RateLimit, l *compiled.RateLimit) {
	if in.IPv6PrefixLength != v1alpha1.DefaultIPv6PrefixLength { // unset fields are left out, so that older sidecars read the document
		l.IPv6PrefixLength = int(in.IPv6PrefixLength)
	}
	if by := in.LimitByClaim; by != nil {
		l.LimitByClaim = &compiled.LimitByClaim{Claim: by.Claim}
		for i, v := range by.Values {
			count, period, err := v.Limit.Parse()
			if err != nil {
				c.errorf(fmt.Sprintf("%s.limitByClaim.values[%d].limit", field, i), "%v", err)
			}
			l.LimitByClaim.Values = append(l.LimitByClaim.Values, compiled.ClaimLimit{
				Value: v.Value, Limit: count, Period: compiled.Duration(period), Burst: int(v.Burst),
			})
		}
	}
	if e := in.Exempt; e != nil {
		l.Exempt = &compiled.LimitExemption{ClientAddresses: e.ClientAddresses}
		for _, claim := range e.Claims {
			l.Exempt.Claims = append(l.Exempt.Claims, compiled.ClaimCondition{Claim: claim.Claim, ClaimMembers: compiled.ClaimMembers{All: claim.All, Any: claim.Any}})
		}
	}
	if in.Cost != nil {
		l.Cost = &compiled.LimitCost{Requests: int(in.Cost.Requests), ResponseJSON: in.Cost.ResponseJSON, ResponseHeader: in.Cost.ResponseHeader}
	}
}

// suspectExemptions: without trusted proxies, the client's address is the peer address of the connection.
func (c *compiler) suspectExemptions(p *compiled.Policy) {
	for i := range p.RateLimits {
		if e := p.RateLimits[i].Exempt; e != nil && len(e.ClientAddresses) > 0 {
			c.warnf(fmt.Sprintf("spec.rateLimits[%d].exempt.clientAddresses", i), "exempts client addresses, and the SidecarClass has no trustedProxies: if an ingress or a "+
				"load balancer has an address in these networks, all its clients are exempt: add its networks to spec.trustedProxies of the SidecarClass, such as 10.0.0.0/8")
			return // one warning for all limits, because one change fixes all
		}
	}
}
