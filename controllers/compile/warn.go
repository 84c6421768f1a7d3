package compile

import (
	"fmt"
	"slices"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
)

// warn finds what can be run and is probably not meant.
func (c *compiler) warn(p *compiled.Policy) {
	if len(p.Ports) == 0 && p.UndeclaredPorts == compiled.Allow {
		c.warnf("spec.ports", "left out with undeclaredPorts: Allow, so a pod that declares no TCP container port is not guarded at all: "+
			"name the app's ports, or say Deny")
	}
	for i := range p.Providers {
		if len(p.Providers[i].Audiences) == 0 {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].audiences", i),
				"no audience is demanded: a token that the issuer made for another app passes where requiredClaims allow it")
		}
	}
	for i := range p.Providers {
		if p.Revocation != nil && p.Providers[i].MaxLifetime == 0 {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].maxLifetime", i),
				"left out, so a revocation of this provider's tokens is forgotten after 24h, and a token that lives longer is good again: say how long they live at most")
		}
	}
	c.warnKeys(p)
	if p.Redis == nil && p.Sessions != nil {
		c.warnf("spec.sessions", "the SidecarClass names no Redis, so a person who logged in at one pod is unknown to the others, and a restart logs "+
			"everybody out: name a Redis, or run one replica")
	}
	left := maxComparisons
	for i := range p.Authorization.Rules {
		if by := shadowedBy(p.Authorization.Rules, i, &left); by >= 0 {
			c.warnf(fmt.Sprintf("spec.authorization.rules[%d]", i),
				"never applies: rule %q before it matches everything that this rule matches", p.Authorization.Rules[by].Name)
		}
	}
}

// warnKeys finds keys that are written in the policy and verify nothing. An issuer's own set has such keys (for encryption), so
// that a copy of it is no error.
func (c *compiler) warnKeys(p *compiled.Policy) {
	for i := range p.Providers {
		provider := &p.Providers[i]
		if len(provider.Keys.Inline) == 0 {
			continue
		}
		set, err := check.InlineKeys(provider.Keys.Inline, provider.Algorithms)
		if err != nil {
			continue // judge has said it
		}
		for _, reason := range set.Skipped() {
			c.warnf(fmt.Sprintf("spec.jwt.providers[%d].jwks.inline", i), "%s: no token is verified with it; leave it out, or add its algorithm to algorithms", reason)
		}
	}
}

// maxComparisons bounds the comparisons of paths and methods for one policy's warnings: about 20 ms. Within the schema's bounds it
// could be billions, and the policy is compiled for each new pod.
const maxComparisons = 1 << 22

// shadowedBy returns the index of an earlier rule with the same matches, or one that matches everything; -1 if none, or if no
// comparisons are left.
func shadowedBy(rules []compiled.AuthorizationRule, i int, left *int) int {
	for j := range i {
		if matchesAll(rules[j].Match) || covers(rules[j].Match, rules[i].Match, left) {
			return j
		}
	}
	return -1
}

func matchesAll(ms []compiled.Match) bool {
	for _, m := range ms {
		if len(m.Methods) == 0 && (len(m.Paths) == 0 || slices.Contains(m.Paths, "/**")) {
			return true
		}
	}
	return false
}

// covers reports whether every match of b stands in a, to the letter.
func covers(a, b []compiled.Match, left *int) bool {
	for _, m := range b {
		found := false
		for _, n := range a {
			found = found || (coversList(n.Methods, m.Methods, left) && coversList(n.Paths, m.Paths, left))
		}
		if !found {
			return false
		}
	}
	return true
}

// coversList reports whether every member of b is in a; an empty list stands for everything.
func coversList(a, b []string, left *int) bool {
	if len(a) == 0 {
		return true
	}
	if *left -= len(a) * len(b); len(b) == 0 || *left < 0 {
		return false
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			return false
		}
	}
	return true
}
