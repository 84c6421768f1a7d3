package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
)

// maxComparisons bounds the comparisons of paths and methods for one policy's warnings: some tens of milliseconds. Within the schema's
// bounds it could be billions, and the policy is compiled for each new pod.
const maxComparisons = 1 << 20

// maxNamedRules is the maximum number of rules that one warning names.
const maxNamedRules = 3

// warnUnreachable reports authorization rules that never apply, because the rules before them match all their requests.
func (c *compiler) warnUnreachable(p *compiled.Policy) {
	rules := p.Authorization.Rules
	matches := make([][]compiled.Match, len(rules))
	for i := range rules {
		matches[i] = rules[i].Match
	}
	coverage := check.NewCoverage(matches, p.Paths != nil && p.Paths.CaseInsensitive, maxComparisons)
	for i := range rules {
		by := coverage.CoveredBy(i)
		if len(by) == 0 {
			continue
		}
		hint := ""
		if slices.ContainsFunc(by, func(j int) bool { return rules[j].Conditions.Any() }) {
			hint = "; a condition that does not hold refuses the request, and does not pass it on to later rules"
		}
		c.warnf(fmt.Sprintf("spec.authorization.rules[%d]", i), "never applies, because %s before it %s all its requests%s: move this rule before %s, or remove it",
			namedRules(rules, by), plural(by, "matches", "match"), hint, plural(by, "it", "them"))
	}
}

// namedRules returns the names of some rules for a message.
func namedRules(rules []compiled.AuthorizationRule, indexes []int) string {
	var names []string
	for _, i := range indexes[:min(len(indexes), maxNamedRules)] {
		names = append(names, fmt.Sprintf("%q", rules[i].Name))
	}
	text := plural(indexes, "rule ", "rules ") + strings.Join(names, ", ")
	if more := len(indexes) - maxNamedRules; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func plural(indexes []int, one, several string) string {
	if len(indexes) == 1 {
		return one
	}
	return several
}
