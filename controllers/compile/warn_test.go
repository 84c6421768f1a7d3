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
	rules, left := similarRules(), maxComparisons
	for i := range rules {
		shadowedBy(rules, i, &left)
	}
	if left >= 0 {
		t.Fatalf("%d comparisons are left: these rules no longer use up the budget", left)
	}
	twice := []compiled.AuthorizationRule{rules[0], rules[0]}
	if by := shadowedBy(twice, 1, &left); by != -1 {
		t.Errorf("rules are compared without a budget: shadowed by %d", by)
	}
	if left = maxComparisons; shadowedBy(twice, 1, &left) != 0 {
		t.Error("a repeated rule is not found")
	}
}

func TestEachComparisonIsCounted(t *testing.T) {
	paths := []string{"/a", "/b"}
	for budget, want := range map[int]bool{3: false, 4: true} {
		left := budget
		if got := coversList(paths, paths, &left); got != want || left != budget-4 {
			t.Errorf("with a budget of %d: %t, %d left", budget, got, left)
		}
	}
}
