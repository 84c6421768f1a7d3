package compile

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// suspect reports values that are valid but almost certainly wrong, because they mean something else in the place they are copied from.
func (c *compiler) suspect(p *compiled.Policy, class *v1alpha1.SidecarClass) {
	direct := class.Name != "" && len(class.Spec.TrustedProxies) == 0
	for i := range p.Providers {
		field := fmt.Sprintf("spec.jwt.providers[%d]", i)
		if l := p.Providers[i].Legacy; l == nil || !l.Unnamed {
			c.suspectIssuer(field+".issuer", p.Providers[i].Issuer)
		}
		c.suspectLocations(field, p.Providers[i].From)
		c.suspectScopes(field, p.Providers[i].RequiredClaims)
	}
	for i := range p.Authorization.Rules {
		c.suspectMatches(fmt.Sprintf("spec.authorization.rules[%d]", i), p.Authorization.Rules[i].Match)
	}
	c.suspectAnonymous(p.Authorization.Rules)
	for i := range p.RateLimits {
		c.suspectKeys(i, p)
		c.suspectMatches(fmt.Sprintf("spec.rateLimits[%d]", i), p.RateLimits[i].Match)
	}
	if p.CORS != nil {
		c.suspectMethods("spec.cors.allowMethods", p.CORS.AllowMethods)
		if !p.CORS.AllowCredentials {
			c.publicOrigins("spec.cors.allowOrigins", p.CORS.AllowOrigins, c.warnf)
		}
	}
	if p.Headers != nil {
		for i := range p.Headers.Routes {
			c.suspectMatches(fmt.Sprintf("spec.headers.routes[%d]", i), p.Headers.Routes[i].Match)
		}
	}
	if direct {
		c.suspectLimits(p)
		c.suspectAddresses(p.Authorization.Rules)
		c.suspectExemptions(p)
	}
	if t := p.Tokens; t != nil {
		c.suspectIssuer("spec.tokens.issuer", t.Issuer)
		for i, m := range t.Login {
			c.suspectMethods(fmt.Sprintf("spec.tokens.login[%d].methods", i), m.Methods)
			c.suspectPathList(fmt.Sprintf("spec.tokens.login[%d].paths", i), m.Paths)
		}
	}
}

// suspectIssuer: the iss of a token is compared exactly (RFC 7519 §4.1.1, OpenID Connect Core §3.1.3.7).
func (c *compiler) suspectIssuer(field, issuer string) {
	switch {
	case strings.TrimSpace(issuer) != issuer:
		c.warnf(field, "%q starts or ends with a space, and the iss of a token does not: write %q", issuer, strings.TrimSpace(issuer))
	case strings.Contains(issuer, "*"):
		c.warnf(field, "%q is compared exactly, so * is no wildcard: write the iss of the tokens, and one provider for each issuer", issuer)
	case strings.ContainsAny(issuer, "{}"):
		c.warnf(field, "%q is compared exactly, and braces are a placeholder in the documentation of the issuer: write the iss of the tokens, "+
			"such as https://login.microsoftonline.com/<the tenant's id>/v2.0, and one provider for each tenant", issuer)
	}
}

// suspectLocations: a prefix is compared as it is.
func (c *compiler) suspectLocations(field string, from []compiled.TokenLocation) {
	for j, location := range from {
		at := fmt.Sprintf("%s.from[%d]", field, j)
		if n := len(location.Prefix); n > 0 && isAlphanumeric(location.Prefix[n-1]) {
			c.warnf(at+".prefix", "%q ends without a space, so the space after it becomes the first character of the token: write %q",
				location.Prefix, location.Prefix+" ")
		}
	}
}

// suspectScopes: a scope has several members in one string (RFC 8693 §4.2), and values compare the whole string.
func (c *compiler) suspectScopes(field string, claims []compiled.RequiredClaim) {
	for i, r := range claims {
		if r.Claim != "scope" && r.Claim != "scp" {
			continue
		}
		for _, value := range r.Values {
			if !strings.Contains(value, " ") {
				c.warnf(fmt.Sprintf("%s.requiredClaims[%d].values", field, i), "the claim %s is usually one string of several scopes, and values compare the whole string: "+
					"write members: {any: [%.64s]}", r.Claim, value)
				break
			}
		}
	}
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

func (c *compiler) suspectMatches(field string, matches []compiled.Match) {
	for i, m := range matches {
		c.suspectMethods(fmt.Sprintf("%s.match[%d].methods", field, i), m.Methods)
		c.suspectPathList(fmt.Sprintf("%s.match[%d].paths", field, i), m.Paths)
	}
}

// suspectMethods: a mistyped method matches nothing, so the rule does not apply.
func (c *compiler) suspectMethods(field string, methods []string) {
	for i, method := range methods {
		if why := check.UnknownMethod(method); why != "" {
			c.warnf(fmt.Sprintf("%s[%d]", field, i), "%s", why)
		}
	}
}

// suspectPathList: placeholders of OpenAPI and of routers are plain text here.
func (c *compiler) suspectPathList(field string, paths []string) {
	for i, path := range paths {
		if open := strings.IndexByte(path, '{'); open >= 0 && strings.IndexByte(path[open:], '}') > 0 {
			c.warnf(fmt.Sprintf("%s[%d]", field, i), "%q matches braces literally: write * for one segment, as %q", path, starred(path))
		}
	}
}

// starred writes * for each segment with a placeholder in it.
func starred(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.Contains(s, "{") {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, "/")
}

// suspectLimits: without trusted proxies, the client's address is the peer address of the connection.
func (c *compiler) suspectLimits(p *compiled.Policy) {
	for i := range p.RateLimits {
		for _, k := range p.RateLimits[i].KeyBy {
			if k.Type == compiled.KeyClientAddress {
				c.warnf(fmt.Sprintf("spec.rateLimits[%d].keyBy", i), "counts by ClientAddress, and the SidecarClass has no trustedProxies, so behind an ingress or a "+
					"load balancer all clients share one address and one limit: add its networks to spec.trustedProxies of the SidecarClass, such as 10.0.0.0/8")
				return // one warning for all limits, because one change fixes all
			}
		}
	}
}

// suspectKeys: a limit counts after authentication, which removes the header of a credential.
func (c *compiler) suspectKeys(i int, p *compiled.Policy) {
	for j, k := range p.RateLimits[i].KeyBy {
		if k.Type != compiled.KeyHeader {
			continue
		}
		if reads := check.ReadsCredential(p, k.Name); reads != "" {
			c.warnf(fmt.Sprintf("spec.rateLimits[%d].keyBy[%d]", i, j), "%s, and requests are counted after it is removed, by the client's address instead: write {type: Subject}", reads)
		}
	}
}
