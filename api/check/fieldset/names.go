// Package fieldset has sets of header names, and the lists of headers that the sidecar removes from every request before it
// reads a token. The operator warns about a policy that uses one of these headers.
//
// Names are compared as the least strict app does. Case is ignored, and all characters except letters and digits are equal:
// CGI, WSGI and PHP make the same variable of X-User, X_User and (lighttpd, old Apache) X.User.
package fieldset

import "strings"

// Names is a set of header names. It is immutable, and Has does not allocate.
type Names struct {
	whole    map[string]struct{}
	prefixes []string
}

// New returns the set of names. A name that ends in * is a prefix: it matches every name that begins with the text before it.
func New(names ...string) Names {
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
