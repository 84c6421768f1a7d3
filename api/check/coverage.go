package check

import (
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/posterndev/postern/api/compiled"
)

// A Coverage finds rules that never apply, because the rules before them match all of their requests. Its answer is exact: a rule is
// covered if and only if every request that it matches is matched by an earlier rule, except for OPTIONS *, which only a rule
// without paths matches.
//
// It compares witnesses, which are finitely many requests that stand for all of a rule. A segment that is * stands for every
// segment, and only * matches all of them, so a segment that is in no pattern stands for it. A ** at the end stands for every number
// of segments, and patterns tell only as many apart as the longest of them has. A rule without methods is for every method, and only
// rules without methods match all of them, so a method that no rule names stands for it. What matches GET also
// matches HEAD, so GET stands for both.
type Coverage struct {
	rules []coverageRule
	// deepest is the number of segments of the longest pattern.
	deepest int
	fold    func(string) string
	left    int
}

type coverageRule struct {
	matches []compiled.Match
	// patterns are the paths of each match.
	patterns [][]Pattern
}

// freshSegment and freshMethod are in no policy: patterns have no control characters, and methods no digits.
const (
	freshSegment = "\x00"
	freshMethod  = "0"
)

// NewCoverage returns a Coverage of rules that are tried in order, each with its matches. ignoreCase compares paths without regard to
// case. budget bounds the comparisons of all calls of CoveredBy together, so that its time is bounded too. Invalid patterns match
// nothing.
func NewCoverage(rules [][]compiled.Match, ignoreCase bool, budget int) *Coverage {
	c := &Coverage{fold: func(s string) string { return s }, left: budget}
	if ignoreCase {
		c.fold = FoldPath
	}
	for _, matches := range rules {
		r := coverageRule{matches: matches}
		for _, m := range matches {
			r.patterns = append(r.patterns, c.parse(m.Paths))
		}
		c.rules = append(c.rules, r)
	}
	return c
}

func (c *Coverage) parse(paths []string) []Pattern {
	var out []Pattern
	for _, path := range paths {
		p, err := ParsePattern(c.fold(path))
		if err != nil {
			continue
		}
		c.deepest = max(c.deepest, len(p.segments))
		out = append(out, p)
	}
	return out
}

// CoveredBy returns the indexes of earlier rules that together match all requests of rule i, in order; nil if i is reachable, or if the
// budget is used up.
func (c *Coverage) CoveredBy(i int) []int {
	var by []int
	covered := c.eachWitness(&c.rules[i], func(method, path string) bool {
		j := c.first(i, method, path)
		if j >= 0 && !slices.Contains(by, j) {
			by = append(by, j)
		}
		return j >= 0
	})
	if !covered || c.left < 0 {
		return nil
	}
	slices.Sort(by)
	return by
}

// Escapes reports whether no earlier rule matches some request of rule i; false if the budget is used up.
func (c *Coverage) Escapes(i int) bool {
	escapes := false
	c.eachWitness(&c.rules[i], func(method, path string) bool {
		escapes = c.first(i, method, path) < 0
		return !escapes
	})
	return escapes && c.left >= 0
}

// first returns the first rule before end that matches, or -1.
func (c *Coverage) first(end int, method, path string) int {
	for j := range end {
		r := &c.rules[j]
		for k := range r.matches {
			if !c.spend(1 + len(r.matches[k].Methods)/8) {
				return -1
			}
			if len(r.matches[k].Methods) > 0 && !MatchMethod(r.matches[k].Methods, method) {
				continue
			}
			if len(r.matches[k].Paths) == 0 || c.matchesAny(r.patterns[k], path) {
				return j
			}
		}
	}
	return -1
}

func (c *Coverage) matchesAny(patterns []Pattern, path string) bool {
	for i := range patterns {
		if !c.spend(1 + len(patterns[i].segments)/2) {
			return false
		}
		if patterns[i].Match(path) {
			return true
		}
	}
	return false
}

// spend takes n comparisons out of the budget, and reports whether they were left.
func (c *Coverage) spend(n int) bool {
	c.left -= n
	return c.left >= 0
}

// eachWitness calls found for each witness of the rule, until it returns false. It returns what found returned last, and false if
// there is no witness.
func (c *Coverage) eachWitness(r *coverageRule, found func(method, path string) bool) bool {
	some := false
	for k := range r.matches {
		patterns := r.patterns[k]
		if len(r.matches[k].Paths) == 0 {
			patterns = []Pattern{{rest: true}}
		}
		for _, method := range methodWitnesses(r.matches[k].Methods) {
			for i := range patterns {
				for path := range c.pathWitnesses(&patterns[i]) {
					if some = true; !found(method, path) {
						return false
					}
				}
			}
		}
	}
	return some
}

func methodWitnesses(methods []string) []string {
	if len(methods) == 0 {
		return []string{freshMethod}
	}
	return methods
}

// pathWitnesses yields the paths that stand for all that the pattern matches: one, or one for each number of segments up to one more
// than the longest pattern has. It ends early if the budget is used up.
func (c *Coverage) pathWitnesses(p *Pattern) iter.Seq[string] {
	return func(yield func(string) bool) {
		segments := slices.Clone(p.segments)
		for i, s := range segments {
			if s == "*" {
				segments[i] = freshSegment
			}
		}
		path := "/" + strings.Join(segments, "/")
		for n := len(segments); ; n++ {
			if !c.spend(1+len(path)/8) || !yield(path) || !p.rest || n > c.deepest {
				return
			}
			path = strings.TrimSuffix(path, "/") + "/" + freshSegment
		}
	}
}

// MatchMethod reports whether method is in methods. GET in a rule also matches HEAD, which is GET without the body (RFC 9110
// §9.3.2): otherwise HEAD would bypass the rule and reveal the same headers.
func MatchMethod(methods []string, method string) bool {
	for _, m := range methods {
		if m == method || (m == "GET" && method == "HEAD") {
			return true
		}
	}
	return false
}

// FoldPath returns s in a form that is the same for all spellings which differ only in case. It maps to upper case first, so that also
// letters with several lower-case forms become one: ſ and s, the Kelvin sign and k, ı and i.
func FoldPath(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}
