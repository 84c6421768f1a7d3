// Package pattern finds the pattern of a request's path, as a label of metrics: one that the policy declares, or a template that was learned from
// paths that the app served. The number of patterns is bounded, so that clients cannot make labels.
//
// A pattern is written like those of a policy: * is any one segment, and ** the rest of the path. A declared pattern without ** comes first,
// then a learned template, then a declared pattern with **, such as /api/**, which says little.
//
// In a template, segments that look like identifiers are *. Where a segment has very many other values, such as the names of users, it becomes
// * as well, and what was learned below it is forgotten.
package pattern

import (
	"strings"
	"sync"
)

// Other is the pattern of all paths without one.
const Other = "other"

// Bounds of a Table.
const (
	// MaxDeclared is how many declared patterns are used, in their order, and MaxLearned how many templates are learned.
	MaxDeclared = 400
	MaxLearned  = 64
	// maxSiblings is how many values a segment may have before it becomes *, and maxRoots that of the first segment.
	maxSiblings = 16
	maxRoots    = 48
	// maxDepth is how many segments of a path a template has. It ends in ** for a longer path.
	maxDepth = 10
)

// Table is a set of patterns. It is safe for concurrent use.
type Table[V any] struct {
	newValue func() *V
	fold     bool

	mu       sync.RWMutex
	declared *node[V]
	learned  *node[V]
	other    *V
	n        int // learned templates
}

// node is a segment of a trie of patterns.
type node[V any] struct {
	children map[string]*node[V]
	star     *node[V]
	// many says that the segments below became *.
	many bool
	// end is the value of the pattern that ends here, and rest that of the pattern that continues with **. Either may be nil.
	end, rest *Entry[V]
}

// Entry is a pattern with its value.
type Entry[V any] struct {
	Pattern string
	Value   *V
}

// New returns a table whose patterns have values of newValue.
func New[V any](newValue func() *V) *Table[V] {
	return &Table[V]{newValue: newValue, declared: &node[V]{}, learned: &node[V]{}, other: newValue()}
}

// Declare replaces the declared patterns. A pattern that was declared before, or was learned, keeps its value. ignoreCase says that the policy matches paths
// without regard to case.
func (t *Table[V]) Declare(patterns []string, ignoreCase bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := map[string]*V{}
	for _, root := range []*node[V]{t.learned, t.declared} {
		root.walk(func(e *Entry[V]) { known[e.Pattern] = e.Value })
	}
	t.fold, t.declared = ignoreCase, &node[V]{}
	n := 0
	for _, p := range patterns {
		if n == MaxDeclared {
			return
		}
		if t.declare(p, known) {
			n++
		}
	}
}

// declare reports whether the pattern is new.
func (t *Table[V]) declare(pattern string, known map[string]*V) bool {
	at, path, rest := t.declared, pattern, false
	if t.fold {
		path = strings.ToLower(path)
	}
	for segment, more := cutFirst(path); segment != ""; segment, more = cutFirst(more) {
		if segment == "**" {
			rest = true
			break
		}
		at = at.child(segment)
	}
	place := &at.end
	if rest {
		place = &at.rest
	}
	if *place != nil {
		return false
	}
	value := known[pattern]
	if value == nil {
		value = t.newValue()
	}
	*place = &Entry[V]{pattern, value}
	return true
}

// child returns the node of a segment of a pattern.
func (n *node[V]) child(segment string) *node[V] {
	if segment == "*" {
		if n.star == nil {
			n.star = &node[V]{}
		}
		return n.star
	}
	if n.children == nil {
		n.children = map[string]*node[V]{}
	}
	if n.children[segment] == nil {
		n.children[segment] = &node[V]{}
	}
	return n.children[segment]
}

// Find returns the entry of a path. It does not allocate, unless the policy ignores case.
func (t *Table[V]) Find(path string) Entry[V] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.find(path); e != nil {
		return *e
	}
	return Entry[V]{Other, t.other}
}

// Served returns the entry of a path that the app served, and learns its template.
func (t *Table[V]) Served(path string) Entry[V] {
	t.mu.RLock()
	e := t.find(path)
	t.mu.RUnlock()
	if e != nil && !strings.HasSuffix(e.Pattern, "/**") {
		return *e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if learned := t.learn(path, t.n >= MaxLearned); learned != nil {
		return *learned
	}
	if e != nil {
		return *e
	}
	return Entry[V]{Other, t.other}
}

func (t *Table[V]) find(path string) *Entry[V] {
	if len(path) == 0 || path[0] != '/' {
		return nil
	}
	key := path
	if t.fold {
		key = strings.ToLower(path)
	}
	exact, rest := t.declared.match(key)
	if exact != nil {
		return exact
	}
	if e := t.learned.follow(path); e != nil {
		return e
	}
	return rest
}

// match returns the entries of a pattern that matches the whole path, and of the longest with **. Of several it prefers literal segments, from
// the left.
func (n *node[V]) match(path string) (exact, rest *Entry[V]) {
	segment, more := cutFirst(path)
	if segment == "" {
		return n.end, n.rest
	}
	for _, next := range []*node[V]{n.children[segment], n.star} {
		if next == nil {
			continue
		}
		e, r := next.match(more)
		if e != nil {
			return e, nil
		}
		if rest == nil {
			rest = r
		}
	}
	if rest == nil {
		rest = n.rest
	}
	return nil, rest
}

// Each calls f for every entry, one at a time, the entry of Other included.
func (t *Table[V]) Each(f func(Entry[V])) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	seen := map[string]bool{}
	for _, root := range []*node[V]{t.declared, t.learned} {
		root.walk(func(e *Entry[V]) {
			if !seen[e.Pattern] {
				seen[e.Pattern] = true
				f(*e)
			}
		})
	}
	f(Entry[V]{Other, t.other})
}

// Learned returns the number of learned templates.
func (t *Table[V]) Learned() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.n
}

func (n *node[V]) walk(f func(*Entry[V])) {
	for _, e := range []*Entry[V]{n.end, n.rest} {
		if e != nil {
			f(e)
		}
	}
	for _, next := range n.children {
		next.walk(f)
	}
	if n.star != nil {
		n.star.walk(f)
	}
}

// cutFirst returns the first segment of a path and what follows it. Empty segments are skipped.
func cutFirst(path string) (segment, rest string) {
	for len(path) > 0 && path[0] == '/' {
		path = path[1:]
	}
	if end := strings.IndexByte(path, '/'); end >= 0 {
		return path[:end], path[end:]
	}
	return path, ""
}
