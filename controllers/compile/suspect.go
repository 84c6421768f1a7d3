package compile

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// suspect finds values that are legal and almost certainly wrong: what they are copied from means something else there.
func (c *compiler) suspect(p *compiled.Policy, class *v1alpha1.SidecarClass) {
	direct := class.Name != "" && len(class.Spec.TrustedProxies) == 0
	for i := range p.Providers {
		field := fmt.Sprintf("spec.jwt.providers[%d]", i)
		c.suspectIssuer(field+".issuer", p.Providers[i].Issuer)
		c.suspectLocations(field, p, i, direct)
	}
	for i := range p.Authorization.Rules {
		c.suspectPaths(fmt.Sprintf("spec.authorization.rules[%d]", i), p.Authorization.Rules[i].Match)
	}
	for i := range p.RateLimits {
		c.suspectPaths(fmt.Sprintf("spec.rateLimits[%d]", i), p.RateLimits[i].Match)
	}
	if direct {
		c.suspectLimits(p)
	}
	if p.CORS != nil {
		c.suspectOrigins("spec.cors.allowOrigins", p.CORS.AllowOrigins)
	}
	if t := p.Tokens; t != nil {
		c.suspectIssuer("spec.tokens.issuer", t.Issuer)
		c.suspectOrigins("spec.tokens.cookie.trustedOrigins", t.TrustedOrigins)
		for i, m := range t.Login {
			c.suspectPathList(fmt.Sprintf("spec.tokens.login[%d].paths", i), m.Paths)
		}
	}
}

// suspectIssuer: a token's iss is compared to the letter (RFC 7519 §4.1.1, OpenID Connect Core §3.1.3.7).
func (c *compiler) suspectIssuer(field, issuer string) {
	switch {
	case strings.TrimSpace(issuer) != issuer:
		c.warnf(field, "%q begins or ends with a space, and no token's iss does: write %q", issuer, strings.TrimSpace(issuer))
	case strings.Contains(issuer, "*"):
		c.warnf(field, "%q is compared to the letter, so the * stands for nothing else: write the iss of the tokens, and a provider for each issuer", issuer)
	case strings.ContainsAny(issuer, "{}"):
		c.warnf(field, "%q is compared to the letter, and braces are a placeholder in the issuer's documentation: write the iss of the tokens, "+
			"as https://login.microsoftonline.com/<the tenant's id>/v2.0, and a provider for each tenant", issuer)
	}
}

// suspectLocations: direct says that no proxy in front is trusted.
func (c *compiler) suspectLocations(field string, p *compiled.Policy, provider int, direct bool) {
	for j, location := range p.Providers[provider].From {
		at := fmt.Sprintf("%s.from[%d]", field, j)
		if n := len(location.Prefix); n > 0 && isAlphanumeric(location.Prefix[n-1]) {
			c.warnf(at+".prefix", "%q ends without a space, so the space after it would be the token's first character: write %q",
				location.Prefix, location.Prefix+" ")
		}
		if why := removed(location.Header, p, direct); why != "" {
			c.warnf(at+".header", "%s is removed from every request before a token is looked for: %s; have clients send the token in another "+
				"header, as Authorization", location.Header, why)
		}
	}
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// removed returns why the sidecar removes the header before authentication; empty where it does not.
func removed(header string, p *compiled.Policy, direct bool) string {
	hopByHop, reserved := fieldset.HopByHop(), fieldset.Reserved()
	switch {
	case header == "":
		return ""
	case fieldset.New(hopByHop[:]...).Has(header):
		return "it belongs to one connection (RFC 9110 §7.6.1)"
	case fieldset.New(reserved[:]...).Has(header):
		return "only the sidecar sets it"
	case fieldset.New(p.IdentityHeaders()...).Has(header):
		return "it carries a claim to the app (claimsToHeaders)"
	case direct && fieldset.New(fieldset.Forwarding()...).Has(header):
		return "proxies say there who the client is, and the SidecarClass names no trustedProxies"
	}
	return ""
}

func (c *compiler) suspectPaths(field string, matches []compiled.Match) {
	for i, m := range matches {
		c.suspectPathList(fmt.Sprintf("%s.match[%d].paths", field, i), m.Paths)
	}
}

// suspectPathList: placeholders of OpenAPI and of routers are plain text here.
func (c *compiler) suspectPathList(field string, paths []string) {
	for i, path := range paths {
		if open := strings.IndexByte(path, '{'); open >= 0 && strings.IndexByte(path[open:], '}') > 0 {
			c.warnf(fmt.Sprintf("%s[%d]", field, i), "%q matches the braces themselves: write * for one segment, as %q", path, starred(path))
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

// suspectOrigins: a browser never sends the default port in Origin (RFC 6454 §6.1).
func (c *compiler) suspectOrigins(field string, origins []string) {
	for i, origin := range origins {
		for scheme, port := range map[string]string{"https://": ":443", "http://": ":80"} {
			if host, ok := strings.CutSuffix(origin, port); ok && strings.HasPrefix(origin, scheme) {
				c.warnf(fmt.Sprintf("%s[%d]", field, i), "browsers leave the default port out of Origin: write %q", host)
			}
		}
	}
}

// suspectLimits: without trusted proxies the client's address is that of whoever opened the connection.
func (c *compiler) suspectLimits(p *compiled.Policy) {
	for i := range p.RateLimits {
		for _, k := range p.RateLimits[i].KeyBy {
			if k.Type == compiled.KeyClientAddress {
				c.warnf(fmt.Sprintf("spec.rateLimits[%d].keyBy", i), "counts by ClientAddress, and the SidecarClass names no trustedProxies, so behind an ingress or a "+
					"load balancer all clients share its address and one limit: name its networks in spec.trustedProxies of the SidecarClass")
				return // once for all limits: the remedy is one
			}
		}
	}
}
