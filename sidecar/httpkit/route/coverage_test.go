package route_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// requests are all requests with up to 4 segments that the rules of randomRules can tell apart, also with empty segments and
// trailing slashes.
func requests() (methods, paths []string) {
	paths = []string{"/"}
	level := []string{""}
	for range 4 {
		var next []string
		for _, path := range level {
			for _, segment := range []string{"a", "b", "other", ""} {
				next = append(next, path+"/"+segment)
			}
		}
		paths = append(paths, next...)
		level = next
	}
	for _, path := range level {
		paths = append(paths, path+"/")
	}
	return []string{"GET", "HEAD", "POST", "OTHER"}, paths
}

// randomRules returns rules whose patterns have up to 3 segments.
func randomRules(random *rand.Rand) [][]compiled.Match {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	rules := make([][]compiled.Match, 2+random.IntN(5))
	for i := range rules {
		for range 1 + random.IntN(2) {
			m := compiled.Match{}
			for range random.IntN(3) {
				m.Methods = append(m.Methods, pick("GET", "HEAD", "POST"))
			}
			for range random.IntN(3) {
				var segments []string
				for range random.IntN(4) {
					segments = append(segments, pick("a", "b", "*", "*"))
				}
				if len(segments) < 3 && random.IntN(2) == 0 {
					segments = append(segments, "**")
				}
				m.Paths = append(m.Paths, "/"+strings.Join(segments, "/"))
			}
			rules[i] = append(rules[i], m)
		}
	}
	return rules
}

// TestCoverage compares what check.Coverage says about random rules with the matcher: a rule is covered if and only if no request
// reaches it.
func TestCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	methods, paths := requests()
	covered := 0
	for range 2000 {
		rules := randomRules(random)
		matchers := make([]*route.Matcher, len(rules))
		for i, matches := range rules {
			var in []route.Match
			for _, m := range matches {
				in = append(in, route.Match{Methods: m.Methods, Paths: m.Paths})
			}
			var err error
			if matchers[i], err = route.NewMatcher(in); err != nil {
				t.Fatal(err)
			}
		}
		coverage := check.NewCoverage(rules, false, 1<<30)
		for i := range rules {
			by := coverage.CoveredBy(i)
			// reaches reports whether rule i matches a request that none of the others matches.
			reaches := func(others []int) bool {
				for _, method := range methods {
					for _, path := range paths {
						if matchers[i].Match(method, path) && !slices.ContainsFunc(others, func(j int) bool { return matchers[j].Match(method, path) }) {
							return true
						}
					}
				}
				return false
			}
			if by == nil && !reaches(before(i)) || by != nil && reaches(by) {
				t.Fatalf("rule %d of %+v: covered by %v, and reached: %v", i, rules, by, reaches(before(i)))
			}
			if by != nil {
				covered++
			}
		}
	}
	if covered < 1000 {
		t.Errorf("only %d random rules are covered", covered)
	}
}

// before returns the indexes below end.
func before(end int) []int {
	indexes := make([]int, end)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}
