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
	// begins are what names in the set may begin with. Most names that are looked up are not in the set, and are known by it.
	begins *[256]beginning
}

// beginning is what names with the same first character are, by that of the name that is looked up.
type beginning struct {
	// lengths has a bit for each length of a whole name; longer ones share the last bit.
	lengths uint64
	// prefixed says that a prefix begins so, or is empty.
	prefixed bool
}

// New returns the set of names. A name that ends in * is a prefix: it matches every name that begins with the text before it.
func New(names ...string) Names {
	n := Names{whole: make(map[string]struct{}, len(names)), begins: &[256]beginning{}}
	for _, name := range names {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			n.prefixes = append(n.prefixes, string(appendFolded(nil, prefix)))
			n.begin(prefix, func(b *beginning) { b.prefixed = true })
			continue
		}
		n.whole[string(appendFolded(nil, name))] = struct{}{}
		n.begin(name, func(b *beginning) { b.lengths |= lengthBit(name) })
	}
	return n
}

// begin calls add for each first character of the variants of text; for every character if text is empty.
func (n *Names) begin(text string, add func(*beginning)) {
	for c := range n.begins {
		if text == "" || fold(text[0]) == fold(byte(c)) {
			add(&n.begins[c])
		}
	}
}

func lengthBit(name string) uint64 { return 1 << min(len(name), 63) }

// Has reports whether name, in any of its variants, is in the set.
func (n Names) Has(name string) bool {
	if n.begins == nil {
		return false // the zero value
	}
	prefixed, whole := true, true
	if name != "" {
		begins := &n.begins[name[0]]
		if prefixed, whole = begins.prefixed, begins.lengths&lengthBit(name) != 0; !prefixed && !whole {
			return false
		}
	}
	var buf [64]byte
	folded := appendFolded(buf[:0], name)
	if whole {
		if _, ok := n.whole[string(folded)]; ok {
			return true
		}
	}
	if !prefixed {
		return false
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
		b = append(b, fold(name[i]))
	}
	return b
}

func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}
