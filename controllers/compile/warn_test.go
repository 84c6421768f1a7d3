package compile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// similarRules are as many rules as the CRD allows, whose matches differ only in their last path, so that comparing them
// literally takes the longest.
func similarRules() []compiled.AuthorizationRule {
	var rules []compiled.AuthorizationRule
	for i := range 64 {
		r := compiled.AuthorizationRule{Name: fmt.Sprint("r", i)}
		for j := range 16 {
			var m compiled.Match
			for k := range 63 {
				m.Paths = append(m.Paths, fmt.Sprint("/", k))
			}
			last := fmt.Sprint("/m", j)
			if j == 15 {
				last = fmt.Sprint("/r", i)
			}
			m.Paths = append(m.Paths, last)
			r.Match = append(r.Match, m)
		}
		if i%2 == 1 {
			slices.Reverse(r.Match)
		}
		rules = append(rules, r)
	}
	return rules
}

// TestComparisonsAreBounded: a policy is compiled for each new pod of its namespace, so looking for warnings must not keep the
// operator from the pods of others.
func TestComparisonsAreBounded(t *testing.T) {
	rules := append(similarRules(), compiled.AuthorizationRule{Name: "again", Match: []compiled.Match{{Paths: []string{"/0"}}}})
	c := &compiler{}
	c.warnUnreachable(&compiled.Policy{Authorization: compiled.Authorization{Rules: rules}})
	if len(c.findings) > 0 {
		t.Fatalf("%v: these rules no longer use up the budget", c.findings)
	}
	twice := []compiled.AuthorizationRule{rules[0], rules[0]}
	c.warnUnreachable(&compiled.Policy{Authorization: compiled.Authorization{Rules: twice}})
	if len(c.findings) != 1 || c.findings[0].Field != "spec.authorization.rules[1]" {
		t.Errorf("%v; want one about a repeated rule", c.findings)
	}
}

// TestUnreachableRulesAreNamed: the warning names the rules that cover a rule.
func TestUnreachableRulesAreNamed(t *testing.T) {
	rule := func(name string, matches ...compiled.Match) compiled.AuthorizationRule {
		return compiled.AuthorizationRule{Name: name, Match: matches}
	}
	get, post := compiled.Match{Methods: []string{"GET"}, Paths: []string{"/a"}}, compiled.Match{Methods: []string{"POST"}, Paths: []string{"/a"}}
	tests := map[string]struct {
		rules []compiled.AuthorizationRule
		paths *compiled.Paths
		want  string
	}{
		"by one rule": {
			rules: []compiled.AuthorizationRule{rule("all", compiled.Match{Paths: []string{"/**"}}), rule("a", get)},
			want:  `[spec.authorization.rules[1]: never applies, because rule "all" before it matches all its requests: move this rule before it, or remove it]`,
		},
		"by two rules": {
			rules: []compiled.AuthorizationRule{rule("g", get), rule("p", post), rule("both", get, post)},
			want:  `[spec.authorization.rules[2]: never applies, because rules "g", "p" before it match all its requests: move this rule before them, or remove it]`,
		},
		"by a rule with a condition": {
			rules: []compiled.AuthorizationRule{
				{Name: "inside", Match: []compiled.Match{get}, Conditions: compiled.Conditions{ClientAddresses: []string{"10.0.0.0/8"}}}, rule("outside", get),
			},
			want: `[spec.authorization.rules[1]: never applies, because rule "inside" before it matches all its requests; a condition that does not hold refuses the ` +
				`request, and does not pass it on to later rules: move this rule before it, or remove it]`,
		},
		"by neither": {rules: []compiled.AuthorizationRule{rule("g", get), rule("p", post), rule("both", compiled.Match{Paths: []string{"/a"}})}, want: `[]`},
		"another case": {
			rules: []compiled.AuthorizationRule{rule("upper", compiled.Match{Paths: []string{"/A"}}), rule("lower", get)}, want: `[]`,
		},
		"another case, without regard to it": {
			rules: []compiled.AuthorizationRule{rule("upper", compiled.Match{Paths: []string{"/A"}}), rule("lower", get)}, paths: &compiled.Paths{CaseInsensitive: true},
			want: `[spec.authorization.rules[1]: never applies, because rule "upper" before it matches all its requests: move this rule before it, or remove it]`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &compiler{}
			c.warnUnreachable(&compiled.Policy{Paths: tt.paths, Authorization: compiled.Authorization{Rules: tt.rules}})
			if got := fmt.Sprint(c.findings); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
