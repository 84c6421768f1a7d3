package compile

import (
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/api/compiled"
)

// warn reports what a sidecar can run but is probably not intended.
func (c *compiler) warn(p *compiled.Policy) {
	if len(p.Ports) == 0 && p.UndeclaredPorts == compiled.Allow {
		c.warnf("spec.ports", "unset together with undeclaredPorts: Allow, so a pod that declares no TCP container port is not protected at all: "+
			"write the app's ports, such as [{port: 8080}], or undeclaredPorts: Deny")
	}
	for i := range p.Providers {
		if l := p.Providers[i].Legacy; l != nil {
			c.warnLegacy(fmt.Sprintf("spec.jwt.providers[%d].legacy", i), l)
		} else if len(p.Providers[i].Audiences) == 0 {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].audiences", i),
				"no audience is required, so a token for another app is accepted if requiredClaims match: write audiences: [my-app] if the issuer sends aud")
		}
	}
	for i := range p.Providers {
		if p.Revocation != nil && p.Providers[i].MaxLifetime == 0 && p.Providers[i].Legacy == nil {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].maxLifetime", i),
				"unset, so a revocation of this provider's tokens ends after 24h, and a token with a longer lifetime is accepted again: write the longest lifetime of its tokens, such as 1h")
		}
	}
	for i := range p.Providers {
		if p.Providers[i].Keys.InsecureHTTP {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].jwks.insecureHTTP", i), "the keys can be fetched over plain HTTP, so anyone who can change the "+
				"traffic to their server can replace them and make valid tokens: write an https uri with caBundle, and remove insecureHTTP")
		}
	}
	c.warnKeys(p)
	c.warnLogins(p)
	c.warnHistory(p)
	c.warnForgotten(p)
	if p.Redis == nil && p.Sessions != nil {
		c.warnf("spec.sessions", "the SidecarClass has no Redis, so other pods do not know a user who logged in at one pod, and a restart logs "+
			"all users out: add spec.redis to the class, or run one replica")
	}
	c.warnUnreachable(p)
	c.warnAudit(p)
	c.warnTLS(p)
	c.warnProofs(p)
}

// warnLegacy reminds of an exception that must end, and of what is weak about it.
func (c *compiler) warnLegacy(field string, l *compiled.Legacy) {
	c.warnf(field, "tokens of the app's former code are accepted until %s: remove this provider, and its secret, after that", l.Until.Format(time.RFC3339))
	if l.ShortSecret {
		c.warnf(field+".shortSecret", "a short secret is accepted, which a person who has one token can guess: choose an early until")
	}
}

// maxKeyWarnings is the maximum number of keys of one set that are reported one by one.
const maxKeyWarnings = 4

// warnKeys reports inline keys that verify no token. The key set of an issuer may contain such keys, for encryption, so a copy of it is
// not an error.
func (c *compiler) warnKeys(p *compiled.Policy) {
	for i := range p.Providers {
		provider := &p.Providers[i]
		if len(provider.Keys.Inline) == 0 {
			continue
		}
		set, err := check.InlineKeys(provider)
		if err != nil {
			continue // judge has reported it
		}
		field := fmt.Sprintf("spec.jwt.providers[%d].jwks.inline", i)
		for j, key := range set.Dropped() {
			if j == maxKeyWarnings {
				c.warnf(field, "%d more keys verify no token", len(set.Dropped())-j)
				break
			}
			c.warnf(field, "%s, so no token is verified with it: %s", key, adviceFor(key.Reason))
		}
	}
}

// adviceFor returns what to do about a key that verifies no token.
func adviceFor(reason keyset.Reason) string {
	switch reason {
	case keyset.OtherUse:
		return "it does no harm, and nothing is missing if another key of the set signs the tokens; remove it to end this warning"
	case keyset.OtherAlgorithm:
		return "if the issuer signs tokens with it, add its algorithm to algorithms; otherwise remove it"
	case keyset.OtherIssuer:
		return "if it signs the tokens of this provider, correct issuer; otherwise remove it"
	case keyset.SharedSecret:
		return "everyone who can read the policy could sign tokens with it: replace it, and write the new one into a Secret (secretKeyRef)"
	case keyset.Weak:
		return "remove it, and have the issuer replace it if it signs tokens"
	}
	return "copy the set from the issuer again, or remove it"
}
