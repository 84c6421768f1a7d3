// Package route decides which requests a rule matches. It normalises a request's path, so that every rule and the app see the
// same path, and matches it against the patterns of a policy. If apps read a path in several ways and the policy's options pass it
// on, it has several readings, and every reading is matched; see docs/design/0021-path-options.md.
//
// Patterns are those of package check: a segment may be * (any one segment), and the last segment may be ** (the rest of the
// path, which may be empty: /public/** matches /public and /public/x/y). They are written decoded and are case-sensitive,
// unless an option says otherwise. One trailing slash of the
// request's path is ignored: most frameworks respond to /admin and /admin/ alike, and a trailing slash must not bypass a rule.
package route

import (
	"fmt"

	"github.com/posterndev/postern/api/check"
)

// Match is one alternative of a rule: a request with any of Methods to any of Paths. An empty list matches everything.
type Match struct {
	Methods, Paths []string
}

// Matcher is a compiled list of matches. It is immutable, and matching does not allocate. The cost does not depend on the number of
// paths.
type Matcher struct {
	alternatives []alternative
	table        *Table
	// fixed are the paths without placeholders.
	fixed *Table
}

type alternative struct {
	methods methods
	paths   []check.Pattern
	// folded are the paths for targets that ignore case.
	folded []check.Pattern
}

// NewMatcher compiles matches. Its errors name the invalid method or pattern, and say what to write instead.
func NewMatcher(matches []Match) (*Matcher, error) {
	m := &Matcher{alternatives: make([]alternative, 0, len(matches))}
	var fixed Matcher
	for i, match := range matches {
		alt, err := compile(match)
		if err != nil {
			return nil, fmt.Errorf("compiling match %d: %w", i, err)
		}
		m.alternatives = append(m.alternatives, alt)
		if a := alt.fixed(); len(a.paths) > 0 {
			fixed.alternatives = append(fixed.alternatives, a)
		}
	}
	if len(matches) == 0 { // everything
		m.alternatives = []alternative{{methods: methods{any: true}}}
	}
	m.table = NewTable([]*Matcher{m})
	if len(fixed.alternatives) > 0 {
		m.fixed = NewTable([]*Matcher{&fixed})
	}
	return m, nil
}

func compile(match Match) (alternative, error) {
	alt := alternative{paths: make([]check.Pattern, 0, len(match.Paths))}
	for _, method := range match.Methods {
		if err := check.Method(method); err != nil {
			return alternative{}, err
		}
	}
	alt.methods = newMethods(match.Methods)
	for _, path := range match.Paths {
		p, err := check.ParsePattern(path)
		if err != nil {
			return alternative{}, err
		}
		alt.paths = append(alt.paths, p)
		if p, err = check.ParsePattern(fold(path)); err != nil {
			return alternative{}, err
		}
		alt.folded = append(alt.folded, p)
	}
	return alt, nil
}

// fixed returns the paths of a that have no placeholders, with any method.
func (a *alternative) fixed() alternative {
	out := alternative{methods: methods{any: true}}
	for i := range a.paths {
		if a.paths[i].Fixed() {
			out.paths, out.folded = append(out.paths, a.paths[i]), append(out.folded, a.folded[i])
		}
	}
	return out
}

// Match reports whether any alternative matches method and path, with regard to case. The path must be one that Read returned, or
// the "*" of an OPTIONS request, which is not a path: only alternatives without paths match it.
func (m *Matcher) Match(method, path string) bool { return m.match(method, path, false) }

// match compares a path that is folded if ignoreCase is set.
func (m *Matcher) match(method, path string, ignoreCase bool) bool {
	return m.table.first(method, path, ignoreCase) == 0
}

// Fixed reports whether a pattern without placeholders matches path, with regard to case.
func (m *Matcher) Fixed(path string) bool {
	return m.fixed != nil && m.fixed.first("", path, false) == 0
}
