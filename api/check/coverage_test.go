package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

func TestCoverage(t *testing.T) {
	paths := func(paths ...string) []compiled.Match { return []compiled.Match{{Paths: paths}} }
	get := func(paths ...string) []compiled.Match {
		return []compiled.Match{{Methods: []string{"GET"}, Paths: paths}}
	}
	tests := map[string]struct {
		rules      [][]compiled.Match
		ignoreCase bool
		// want are the rules that cover the last one.
		want []int
	}{
		"a prefix":                                    {rules: [][]compiled.Match{paths("/a/**"), paths("/a/*/b")}, want: []int{0}},
		"the prefix itself":                           {rules: [][]compiled.Match{paths("/a/**"), paths("/a")}, want: []int{0}},
		"another prefix":                              {rules: [][]compiled.Match{paths("/a/**"), paths("/ab")}},
		"everything":                                  {rules: [][]compiled.Match{paths("/**"), {{}}}, want: []int{0}},
		"no path is everything":                       {rules: [][]compiled.Match{{{}}, paths("/**")}, want: []int{0}},
		"a wildcard":                                  {rules: [][]compiled.Match{paths("/a/*"), paths("/a/b")}, want: []int{0}},
		"no wildcard":                                 {rules: [][]compiled.Match{paths("/a/b"), paths("/a/*")}},
		"many names are no wildcard":                  {rules: [][]compiled.Match{paths("/a/b", "/a/c", "/a/d"), paths("/a/*")}},
		"a wildcard is not the rest":                  {rules: [][]compiled.Match{paths("/a", "/a/*"), paths("/a/**")}},
		"the rest in parts":                           {rules: [][]compiled.Match{paths("/a"), paths("/a/*"), paths("/a/*/*/**"), paths("/a/**")}, want: []int{0, 1, 2}},
		"the rest in parts, with a hole":              {rules: [][]compiled.Match{paths("/a"), paths("/a/*"), paths("/a/*/*/*/**"), paths("/a/**")}},
		"a method of all":                             {rules: [][]compiled.Match{paths("/a"), get("/a")}, want: []int{0}},
		"all methods":                                 {rules: [][]compiled.Match{get("/a"), paths("/a")}},
		"HEAD of GET":                                 {rules: [][]compiled.Match{get("/a"), {{Methods: []string{"HEAD"}, Paths: []string{"/a"}}}}, want: []int{0}},
		"GET of HEAD":                                 {rules: [][]compiled.Match{{{Methods: []string{"HEAD"}, Paths: []string{"/a"}}}, get("/a")}},
		"methods in two rules":                        {rules: [][]compiled.Match{get("/a"), {{Methods: []string{"POST"}}}, {{Methods: []string{"POST", "GET"}, Paths: []string{"/a"}}}}, want: []int{0, 1}},
		"one of two matches":                          {rules: [][]compiled.Match{paths("/a"), {{Paths: []string{"/a"}}, {Paths: []string{"/b"}}}}},
		"two matches in two rules":                    {rules: [][]compiled.Match{paths("/b"), paths("/a"), {{Paths: []string{"/a"}}, {Paths: []string{"/b"}}}}, want: []int{0, 1}},
		"a later rule does not count":                 {rules: [][]compiled.Match{paths("/b"), paths("/a")}},
		"another case":                                {rules: [][]compiled.Match{paths("/A/**"), paths("/a")}},
		"another case, without regard to it":          {rules: [][]compiled.Match{paths("/A/**"), paths("/a")}, ignoreCase: true, want: []int{0}},
		"an invalid pattern covers nothing":           {rules: [][]compiled.Match{paths("a"), paths("/a")}},
		"a rule whose patterns are invalid":           {rules: [][]compiled.Match{paths("/**"), paths("a")}},
		"the root is not a segment":                   {rules: [][]compiled.Match{paths("/*"), paths("/")}},
		"a match without paths is not only invalid's": {rules: [][]compiled.Match{paths("a", "b"), {{}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			last := len(tt.rules) - 1
			if got := NewCoverage(tt.rules, tt.ignoreCase, 1<<20).CoveredBy(last); !slices.Equal(got, tt.want) {
				t.Errorf("covered by %v; want %v", got, tt.want)
			}
		})
	}
}

// TestCoverageBudget: a rule is only called covered if all of its witnesses were compared.
func TestCoverageBudget(t *testing.T) {
	deep := strings.Repeat("/a", 200)
	rules := [][]compiled.Match{{{Paths: []string{deep, "/**"}}}, {{Paths: []string{"/b/**"}}}}
	if got := NewCoverage(rules, false, 1<<20).CoveredBy(1); !slices.Equal(got, []int{0}) {
		t.Fatalf("covered by %v with a budget", got)
	}
	for budget := range 2000 {
		c := NewCoverage(rules, false, budget)
		if got := c.CoveredBy(1); got != nil {
			t.Fatalf("covered by %v with a budget of %d for more than 200 paths", got, budget)
		}
		if c.left < -150 {
			t.Fatalf("%d comparisons more than the budget", -c.left)
		}
	}
}
