package pattern

import "strings"

// follow returns the entry of the template of a path, or nil.
func (n *node[V]) follow(path string) *Entry[V] {
	segment, more := cutFirst(path)
	for depth := 0; segment != ""; segment, more = cutFirst(more) {
		if depth == maxDepth {
			return n.rest
		}
		next := n.children[segment]
		if next == nil {
			next = n.star
		}
		if next == nil {
			return nil
		}
		n, depth = next, depth+1
	}
	return n.end
}

// learn adds the template of a path, and returns its entry; nil if there is no place for another. If full is set, it only makes a segment * that
// has too many values, which makes places.
func (t *Table[V]) learn(path string, full bool) *Entry[V] {
	template, at, depth, rest := make([]byte, 0, 64), t.learned, 0, false
	for segment, more := cutFirst(path); segment != ""; segment, more = cutFirst(more) {
		if rest = depth == maxDepth; rest {
			break
		}
		switch {
		case at.many || looksLikeID(segment):
			segment = "*"
		case at.children[segment] == nil && len(at.children) >= bound(depth):
			t.n -= at.forget()
			segment, full = "*", false
		}
		if full && (segment != "*" && at.children[segment] == nil || segment == "*" && at.star == nil) {
			return nil
		}
		template = append(append(template, '/'), segment...)
		at = at.child(strings.Clone(segment)) // the path may be part of a much longer text
		depth++
	}
	if rest {
		template = append(template, "/**"...)
	}
	if depth == 0 {
		template = append(template, '/')
	}
	return t.place(at, string(template), rest)
}

func bound(depth int) int {
	if depth == 0 {
		return maxRoots
	}
	return maxSiblings
}

func (t *Table[V]) place(at *node[V], template string, rest bool) *Entry[V] {
	place := &at.end
	if rest {
		place = &at.rest
	}
	if *place == nil {
		if t.n >= MaxLearned {
			return nil
		}
		t.n++
		*place = &Entry[V]{template, t.newValue()}
	}
	return *place
}

// forget removes what is below the node's literal segments, which become *, and returns the number of templates.
func (n *node[V]) forget() (templates int) {
	for _, next := range n.children {
		next.walk(func(*Entry[V]) { templates++ })
	}
	n.children, n.many = nil, true
	return templates
}

// Bounds of a segment that is a word.
const (
	maxWord   = 32
	maxDigits = 3
	minHex    = 8
)

// looksLikeID reports whether a segment is more likely an identifier than a word of the API: a number, a UUID, a hash, an address of e-mail, or
// anything with characters that words of paths do not have.
func looksLikeID(segment string) bool {
	if len(segment) > maxWord || segment == "*" || segment == "**" {
		return true
	}
	digits, letters, hexes := 0, 0, 0
	for i := range len(segment) {
		switch c := segment[i]; {
		case c >= '0' && c <= '9':
			digits++
			hexes++
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			letters++
			hexes++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letters++
		case c == '-' || c == '_' || c == '.':
		default:
			return true
		}
	}
	return letters == 0 && digits > 0 || digits > maxDigits || hexes == len(segment) && digits > 0 && len(segment) >= minHex || looksRandom(segment)
}
