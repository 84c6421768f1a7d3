package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Declared are the path patterns that a policy names, for logs, traces and metrics: a path can have data of a person, and clients can send
// any number of them. It is immutable, and Of does not allocate.
type Declared struct {
	// patterns are sorted: the first that matches is the most specific.
	patterns []string
	table    *Table
}

// NewDeclared compiles patterns, in any order. Its error names the one that is not valid.
func NewDeclared(patterns []string) (*Declared, error) {
	d := &Declared{patterns: slices.Compact(slices.Sorted(slices.Values(patterns)))}
	slices.SortStableFunc(d.patterns, func(a, b string) int { return cmp.Compare(specificity(a), specificity(b)) })
	rules := make([]*Matcher, len(d.patterns))
	for i, text := range d.patterns {
		a, err := compile(Match{Paths: []string{text}})
		if err != nil {
			return nil, fmt.Errorf("compiling declared patterns: %w", err)
		}
		rules[i] = &Matcher{alternatives: []alternative{a}}
	}
	d.table = NewTable(rules)
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
	if i := d.table.First("", t, 0); i >= 0 {
		return d.patterns[i]
	}
	return ""
}
