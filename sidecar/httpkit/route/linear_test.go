package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
)

// linear matches as a list: one pattern after the other. It is what Table must agree with.
type linear [][]Match

func (l linear) first(t testing.TB, method, path string, ignoreCase bool) int {
	t.Helper()
	for i, matches := range l {
		if len(matches) == 0 {
			return i
		}
		for _, m := range matches {
			if (len(m.Methods) == 0 || check.MatchMethod(m.Methods, method)) && (len(m.Paths) == 0 || anyPattern(t, m.Paths, path, ignoreCase)) {
				return i
			}
		}
	}
	return -1
}

func anyPattern(t testing.TB, patterns []string, path string, ignoreCase bool) bool {
	t.Helper()
	for _, text := range patterns {
		if ignoreCase {
			text = fold(text)
		}
		p, err := check.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.Match(path) {
			return true
		}
	}
	return false
}

// compileAll returns the table of l, and the matchers of its rules. ok is false if a rule is not valid.
func (l linear) compileAll() (table *Table, matchers []*Matcher, ok bool) {
	for _, matches := range l {
		m, err := NewMatcher(matches)
		if err != nil {
			return nil, nil, false
		}
		matchers = append(matchers, m)
	}
	return NewTable(matchers), matchers, true
}

// agree compares the table and each matcher with l for one request.
func (l linear) agree(t *testing.T, table *Table, matchers []*Matcher, method, path string, ignoreCase bool) {
	t.Helper()
	if ignoreCase {
		path = fold(path)
	}
	if got, want := table.first(method, path, ignoreCase), l.first(t, method, path, ignoreCase); got != want {
		t.Fatalf("%s %q, ignoring case %v: rule %d; want %d of %+v", method, path, ignoreCase, got, want, l)
	}
	for i, m := range matchers {
		if got, want := m.match(method, path, ignoreCase), (linear{l[i]}).first(t, method, path, ignoreCase) == 0; got != want {
			t.Fatalf("%s %q, ignoring case %v: %v; want %v of %+v", method, path, ignoreCase, got, want, l[i])
		}
	}
}

// randomPath returns a pattern, or a path that may match one.
func randomPath(random *rand.Rand, words []string) string {
	var b strings.Builder
	for range random.IntN(5) {
		b.WriteString("/" + words[random.IntN(len(words))])
	}
	return b.String()
}

func TestTableIsTheList(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	methodNames := []string{"GET", "HEAD", "POST", "DELETE", "PROPFIND", "REPORT"}
	for range 400 {
		rules := make(linear, random.IntN(12))
		for i := range rules {
			for range random.IntN(3) {
				m := Match{}
				for range random.IntN(3) {
					m.Methods = append(m.Methods, methodNames[random.IntN(len(methodNames))])
				}
				for range random.IntN(20) {
					p := randomPath(random, []string{"a", "b", "B", "*", "*", "c", "d", "e", "f", "g", "h"})
					if random.IntN(3) == 0 {
						p += "/**"
					}
					if p == "" {
						p = "/"
					}
					m.Paths = append(m.Paths, p)
				}
				rules[i] = append(rules[i], m)
			}
		}
		table, matchers, ok := rules.compileAll()
		if !ok {
			t.Fatalf("refused: %+v", rules)
		}
		for range 60 {
			path := randomPath(random, []string{"a", "b", "B", "*", "", "c", "d", "e", "x"}) + []string{"", "/", "//"}[random.IntN(3)]
			method := append(methodNames, "get", "OTHER", "")[random.IntN(len(methodNames)+3)]
			rules.agree(t, table, matchers, method, path, random.IntN(2) == 0)
		}
		rules.agree(t, table, matchers, "OPTIONS", "*", false)
	}
}

// FuzzTable: the same for any patterns and paths. A line of rules is one rule: methods, separated by commas, and patterns.
func FuzzTable(f *testing.F) {
	f.Add("GET /a/* /b/**\nPOST,X /a\n /**\n", "GET", "/a/b/", true)
	f.Add("\n", "OPTIONS", "*", false)
	f.Add(" /\n /A/ı", "GET", "//", true)
	f.Fuzz(func(t *testing.T, text, method, path string, ignoreCase bool) {
		var rules linear
		for line := range strings.SplitSeq(text, "\n") {
			if len(rules) == 20 {
				return
			}
			names, patterns, _ := strings.Cut(line, " ")
			m := Match{Paths: strings.Fields(patterns)}
			if names != "" {
				m.Methods = strings.Split(names, ",")
			}
			rules = append(rules, []Match{m})
		}
		if table, matchers, ok := rules.compileAll(); ok {
			rules.agree(t, table, matchers, method, path, ignoreCase)
		}
	})
}

// api returns n rules of an API, and a path of the last.
func api(n int) (rules linear, path string) {
	for i := range n {
		rules = append(rules, []Match{{Methods: []string{"GET", "POST"}, Paths: []string{fmt.Sprintf("/api/v1/resource%d/*/items", i)}}})
	}
	return rules, fmt.Sprintf("/api/v1/resource%d/1234/items", n-1)
}

// TestCostIsFlat: the number of rules does not change how many nodes and ends are looked at.
func TestCostIsFlat(t *testing.T) {
	steps := map[int]int{}
	for _, n := range []int{1, 100, 1000} {
		rules, path := api(n)
		table, _, _ := rules.compileAll()
		s := table.search("POST", path, false)
		if s.best != n-1 {
			t.Fatalf("rule %d of %d", s.best, n)
		}
		steps[n] = s.steps
		if allocs := testing.AllocsPerRun(100, func() { table.first("POST", path, false) }); allocs != 0 {
			t.Errorf("%v allocations with %d rules", allocs, n)
		}
	}
	if steps[100] != steps[1] || steps[1000] != steps[1] {
		t.Errorf("steps for 1, 100 and 1000 rules: %v; want the same", steps)
	}
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		rules, path := api(n)
		table, _, _ := rules.compileAll()
		b.Run(fmt.Sprintf("%d rules", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if table.first("POST", path, false) != n-1 {
					b.Fatal("another rule")
				}
			}
		})
	}
}

func BenchmarkDeclared(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		rules, path := api(n)
		var patterns []string
		for _, r := range rules {
			patterns = append(patterns, r[0].Paths...)
		}
		d, err := NewDeclared(patterns)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d patterns", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d.Of(&Target{Path: path}) == "" {
					b.Fatal("no pattern")
				}
			}
		})
	}
}
