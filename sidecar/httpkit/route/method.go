package route

import (
	"net/http"
	"slices"

	"github.com/posterndev/postern/api/check"
)

// methods is a set of methods. GET in a rule also matches HEAD; see check.MatchMethod.
type methods struct {
	any bool
	// known are the methods that have a bit.
	known uint16
	other []string
}

// newMethods returns the set of the methods that names match; no name matches all.
func newMethods(names []string) methods {
	m := methods{any: len(names) == 0}
	for _, name := range names {
		bit := methodBit(name)
		m.known |= bit
		if bit == 0 && !slices.Contains(m.other, name) {
			m.other = append(m.other, name)
		}
	}
	if check.MatchMethod(names, http.MethodHead) {
		m.known |= methodBit(http.MethodHead)
	}
	return m
}

// union returns the set of the methods in m or more.
func (m methods) union(more methods) methods {
	return methods{any: m.any || more.any, known: m.known | more.known, other: slices.Concat(m.other, more.other)}
}

// has reports whether method, whose bit is known, is in the set.
func (m *methods) has(method string, bit uint16) bool {
	return m.any || m.known&bit != 0 || bit == 0 && slices.Contains(m.other, method)
}

// methodBit returns the bit of a method of RFC 9110 §9.3 or RFC 5789, and 0 for others.
func methodBit(method string) uint16 {
	switch method {
	case http.MethodGet:
		return 1 << 0
	case http.MethodHead:
		return 1 << 1
	case http.MethodPost:
		return 1 << 2
	case http.MethodPut:
		return 1 << 3
	case http.MethodPatch:
		return 1 << 4
	case http.MethodDelete:
		return 1 << 5
	case http.MethodOptions:
		return 1 << 6
	case http.MethodConnect:
		return 1 << 7
	case http.MethodTrace:
		return 1 << 8
	}
	return 0
}

// fold returns s in a form that is the same for all spellings which differ only in case.
func fold(s string) string { return check.FoldPath(s) }
