package check

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of a limit's options. They are those of the CRD.
const (
	maxClaimLimits     = 16
	maxClaimLimitValue = 128
	maxExemptNetworks  = 32
	maxExemptClaims    = 16
)

// limitOptions checks what makes a limit depend on the caller.
func (c *checker) limitOptions(field string, l *compiled.RateLimit) {
	if l.LimitByClaim != nil {
		c.limitByClaim(field+".limitByClaim", l.LimitByClaim)
	}
	if l.Exempt != nil {
		c.exempt(field+".exempt", l.Exempt)
	}
	if l.IPv6PrefixLength != 0 {
		c.add(field+".ipv6PrefixLength", IPv6PrefixLength(l.IPv6PrefixLength))
	}
	if l.Cost != nil && l.Limit != 0 { // without a limit the cost itself is refused
		c.limitCost(field+".cost", l)
	}
}

func (c *checker) limitByClaim(field string, by *compiled.LimitByClaim) {
	c.add(field+".claim", Claim(by.Claim))
	if len(by.Values) == 0 || len(by.Values) > maxClaimLimits {
		c.addf(field+".values", "it has %d values; write 1 to %d, for example [{value: gold, limit: 100/minute}]", len(by.Values), maxClaimLimits)
	}
	seen := map[string]bool{}
	for i, v := range by.Values {
		at := at(field+".values", i)
		switch {
		case v.Value == "" || len(v.Value) > maxClaimLimitValue:
			c.addf(at+".value", "it has %d bytes; write 1 to %d, for example gold", len(v.Value), maxClaimLimitValue)
		case seen[v.Value]:
			c.addf(at+".value", "another entry already has the value %.64q, so this one never applies; remove one of them", v.Value)
		}
		seen[v.Value] = true
		if err := Rate(v.Limit, v.Period.Std()); err != nil {
			c.add(at+".limit", err)
		} else {
			c.add(at+".burst", Burst(v.Limit, v.Period.Std(), v.Burst))
		}
	}
}

func (c *checker) exempt(field string, e *compiled.LimitExemption) {
	if len(e.ClientAddresses) > maxExemptNetworks {
		c.addf(field+".clientAddresses", "%d networks are more than %d; write larger networks", len(e.ClientAddresses), maxExemptNetworks)
	}
	for i, cidr := range e.ClientAddresses {
		at := at(field+".clientAddresses", i)
		switch err := CIDR(cidr); {
		case err != nil:
			c.add(at, err)
		case strings.HasSuffix(cidr, "/0"):
			c.addf(at, "%s contains every client, so the limit would never apply to them; write the networks of your own clients, for example 10.0.0.0/8", cidr)
		}
	}
	if len(e.Claims) > maxExemptClaims {
		c.addf(field+".claims", "%d claims are more than %d; write fewer", len(e.Claims), maxExemptClaims)
	}
	c.claimConditions(field+".claims", e.Claims)
}

// IPv6PrefixLength refuses a length of networks that cannot count as one client: most providers assign a /48 or a longer prefix.
func IPv6PrefixLength(bits int) error {
	if bits < 32 || bits > 128 {
		return fmt.Errorf("%d is not between 32 and 128; write the length of the network that one client has, for example 56, or leave it out for 64", bits)
	}
	return nil
}

// limitCost refuses a cost that is in no place or in several, or that no request could pay.
func (c *checker) limitCost(field string, l *compiled.RateLimit) {
	places := 0
	for _, given := range []bool{l.Cost.Requests != 0, l.Cost.ResponseJSON != "", l.Cost.ResponseHeader != ""} {
		if given {
			places++
		}
	}
	switch {
	case places != 1:
		c.addf(field, "write exactly one of requests, responseJSON and responseHeader, for example {responseJSON: usage.total_tokens}")
	case l.Cost.ResponseJSON != "":
		c.add(field+".responseJSON", JSONPath(l.Cost.ResponseJSON))
	case l.Cost.ResponseHeader != "":
		c.add(field+".responseHeader", FieldName(l.Cost.ResponseHeader))
	default:
		c.fixedCost(field, l)
	}
}

// fixedCost refuses a cost that no request could pay.
func (c *checker) fixedCost(field string, l *compiled.RateLimit) {
	least, of := l.Burst, "burst"
	if l.LimitByClaim != nil {
		for i, v := range l.LimitByClaim.Values {
			if v.Burst < least {
				least, of = v.Burst, at("limitByClaim.values", i)+".burst"
			}
		}
	}
	if n := l.Cost.Requests; n < 1 || n > least {
		c.addf(field+".requests", "%d is not between 1 and %s, which is %d, so every request would be refused; write at most %d, or a greater burst", n, of, least, least)
	}
}
