package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// Declared are the path patterns that a policy names, for logs, traces and metrics: a path can have data of a person, and clients can send
// any number of them. It is immutable, and Of does not allocate.
type Declared struct{ patterns []declared }

type declared struct {
	text, order   string
	exact, folded check.Pattern
}

// NewDeclared compiles patterns, in any order. Its error names the one that is not valid.
func NewDeclared(patterns []string) (*Declared, error) {
	d := &Declared{}
	for _, text := range slices.Compact(slices.Sorted(slices.Values(patterns))) {
		exact, err := check.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("compiling declared patterns: %w", err)
		}
		folded, err := check.ParsePattern(fold(text))
		if err != nil {
			return nil, fmt.Errorf("compiling declared patterns: %w", err)
		}
		d.patterns = append(d.patterns, declared{text: text, order: specificity(text), exact: exact, folded: folded})
	}
	slices.SortStableFunc(d.patterns, func(a, b declared) int { return cmp.Compare(a.order, b.order) })
	return d, nil
}

// specificity sorts patterns that match the same path: in the first segment that differs, a name comes before *, and that before **.
func specificity(pattern string) string {
	var b strings.Builder
	for segment := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		switch segment {
		case "":
		case "*":
			b.WriteByte('b')
		case "**":
			b.WriteByte('c')
		default:
			b.WriteByte('a')
		}
	}
	return b.String()
}

// Of returns the most specific pattern that matches the first reading of t, and "" if none does.
func (d *Declared) Of(t *Target) string {
	if d == nil || !strings.HasPrefix(t.Path, "/") {
		return ""
	}
	path := t.Reading(0)
	for i := range d.patterns {
		p := &d.patterns[i]
		pattern := &p.exact
		if t.ignoreCase {
			pattern = &p.folded
		}
		if pattern.Match(path) {
			return p.text
		}
	}
	return ""
}
