package chain

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

// limitRule converts the policy's rate limit i.
func (b *builder) limitRule(i int) ratelimit.Rule {
	l := &b.policy.RateLimits[i]
	rule := ratelimit.Rule{
		Name: l.Name, Limit: l.Limit, Period: l.Period.Std(), Burst: l.Burst, MaxInFlight: l.MaxInFlight, Shadow: l.Mode == compiled.Shadow,
		OnFailure: ratelimit.OnFailure(l.OnFailure), IPv6PrefixLength: l.IPv6PrefixLength,
	}
	if len(l.Match) > 0 {
		rule.Match = b.match(l.Match, "rateLimits[%d]", i)
	}
	for _, k := range l.KeyBy {
		rule.KeyBy = append(rule.KeyBy, ratelimit.KeyPart{Type: ratelimit.KeyType(k.Type), Name: k.Name})
	}
	if by := l.LimitByClaim; by != nil {
		rule.ByClaim = &ratelimit.ByClaim{Claim: by.Claim}
		for _, v := range by.Values {
			rule.ByClaim.Plans = append(rule.ByClaim.Plans, ratelimit.Plan{Value: v.Value, Limit: v.Limit, Period: v.Period.Std(), Burst: v.Burst})
		}
	}
	if l.Exempt != nil {
		rule.Exempt = b.exemption(l.Exempt, i)
	}
	if c := l.Cost; c != nil {
		rule.Cost, rule.CostFrom = c.Requests, costFrom(c)
	}
	return rule
}

// costFrom returns where the response has the cost, or nil.
func costFrom(c *compiled.LimitCost) *ratelimit.CostFrom {
	switch {
	case c.ResponseJSON != "":
		return &ratelimit.CostFrom{JSON: strings.Split(c.ResponseJSON, ".")}
	case c.ResponseHeader != "":
		return &ratelimit.CostFrom{Header: http.CanonicalHeaderKey(c.ResponseHeader)}
	}
	return nil
}

func (b *builder) exemption(in *compiled.LimitExemption, i int) ratelimit.Exemption {
	var e ratelimit.Exemption
	for _, cidr := range in.ClientAddresses {
		network, err := netip.ParsePrefix(cidr)
		b.fail(wrap(err, "exempt.clientAddresses"), "rateLimits[%d]", i)
		e.ClientAddresses = append(e.ClientAddresses, network)
	}
	for _, c := range in.Claims {
		e.Claims = append(e.Claims, ratelimit.ExemptClaim{Claim: c.Claim, Members: identity.Members{All: c.All, Any: c.Any}})
	}
	return e
}
