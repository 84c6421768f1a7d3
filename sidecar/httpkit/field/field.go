// Package field reads what header fields have in common: their names, and lists of tokens.
//
// Names are compared as the least careful app behind us does: letters of either case are one, and every other character
// but digits is one, since CGI, WSGI and PHP make the same variable of X-User, X_User and (lighttpd, old Apache) X.User.
package field

import (
	"iter"
	"net/http"
	"strings"
)

// maxTokens bounds how many elements of a list are looked at; a list of a thousand is an attack, not a wish.
const maxTokens = 1000

// Names is a set of field names. It is immutable, and asking does not allocate.
type Names struct {
	whole    map[string]struct{}
	prefixes []string
}

// NewNames returns the set of names. One that ends in * stands for every name that begins with what is before it.
func NewNames(names ...string) Names {
	n := Names{whole: make(map[string]struct{}, len(names))}
	for _, name := range names {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			n.prefixes = append(n.prefixes, string(appendFolded(nil, prefix)))
			continue
		}
		n.whole[string(appendFolded(nil, name))] = struct{}{}
	}
	return n
}

// Has reports whether name, in any of its variants, is in the set.
func (n Names) Has(name string) bool {
	var buf [64]byte
	folded := appendFolded(buf[:0], name)
	if _, ok := n.whole[string(folded)]; ok {
		return true
	}
	for _, prefix := range n.prefixes {
		if len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

func appendFolded(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			c = '-'
		}
		b = append(b, c)
	}
	return b
}

// Elements yields the elements of a comma-separated list (RFC 9110 §5.6.1) that may span several lines, without the
// space around them. Empty elements are left out. Quoted strings are not known: the lists read here hold none.
func Elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := 0
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if n++; n > maxTokens {
					return
				}
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// HasElement reports whether the list holds the token, in either case.
func HasElement(lines []string, token string) bool {
	for element := range Elements(lines) {
		if strings.EqualFold(element, token) {
			return true
		}
	}
	return false
}

// AddVary makes the answer vary by the named fields (RFC 9110 §12.5.5), leaving out what the app named already.
func AddVary(h http.Header, names ...string) {
	for _, name := range names {
		if lines := h["Vary"]; !HasElement(lines, name) && !HasElement(lines, "*") {
			h["Vary"] = append(lines[:len(lines):len(lines)], name)
		}
	}
}
