package compile

import (
	"fmt"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
)

// refuseOrigins reports patterns by which anybody could act as a user: wildcards under a public suffix, for trusted origins and for CORS
// with credentials. This is not in package check, because sidecars judge by that: a document in use must not become invalid when a later
// build knows another suffix.
func (c *compiler) refuseOrigins(p *compiled.Policy) {
	if p.CORS != nil && p.CORS.AllowCredentials {
		c.publicOrigins("spec.cors.allowOrigins", p.CORS.AllowOrigins, c.errorf)
	}
	if p.Tokens != nil {
		c.publicOrigins("spec.tokens.cookie.trustedOrigins", p.Tokens.TrustedOrigins, c.errorf)
	}
}

// publicOrigins reports the patterns whose wildcard stands for a name that anybody can register, such as https://*.github.io.
func (c *compiler) publicOrigins(field string, origins []string, report func(field, format string, args ...any)) {
	for i, origin := range origins {
		if parent, public := publicParent(origin); public {
			report(fmt.Sprintf("%s[%d]", field, i), "anybody can register a name under %s, so any site could call the app: write your own names, "+
				"such as https://shop.%s, or a domain of your own, such as https://*.preview.example.com", parent, parent)
		}
	}
}

// publicParent returns what follows the wildcard of a pattern, and whether it is a public suffix, such as co.uk or github.io
// (https://publicsuffix.org).
func publicParent(origin string) (parent string, public bool) {
	pattern, err := check.ParseOriginPattern(origin)
	if err != nil || !pattern.AnyLabel {
		return "", false
	}
	_, parent, _ = strings.Cut(strings.ToLower(origin), "://*.")
	parent, _, _ = strings.Cut(parent, ":")
	suffix, _ := publicsuffix.PublicSuffix(parent)
	return parent, suffix == parent
}
