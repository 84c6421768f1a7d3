package route

import (
	"math"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// noRule is after every rule.
const noRule = math.MaxInt

// trie holds the patterns of many rules by their segments.
type trie struct {
	// anywhere are the rules without paths.
	anywhere ends
	root     *node
}

// node is what follows some segments.
type node struct {
	// least is the first rule of this node and all below it.
	least int
	// here are the rules with a pattern that ends at this node, and below those with a ** at it.
	here, below ends
	named       children
	any         *node
}

// ends are the rules of patterns that end at one place, in order and each once.
type ends []end

type end struct {
	rule int
	methods
}

// children are the nodes of names. There is a map if there are many.
type children struct {
	names []string
	nodes []*node
	index map[string]*node
}

// maxListed is the number of children that are as fast to compare as to look up in a map.
const maxListed = 6

func newTrie() *trie { return &trie{root: newNode()} }

func newNode() *node { return &node{least: noRule} }

// add adds an alternative of a rule. Rules are added in order.
func (t *trie) add(rule int, m methods, paths []check.Pattern) {
	if len(paths) == 0 {
		t.anywhere = t.anywhere.add(rule, m)
	}
	for i := range paths {
		segments, rest := paths[i].Segments()
		n := t.root
		n.least = min(n.least, rule)
		for _, segment := range segments {
			n = n.child(segment)
			n.least = min(n.least, rule)
		}
		if rest {
			n.below = n.below.add(rule, m)
		} else {
			n.here = n.here.add(rule, m)
		}
	}
}

func (e ends) add(rule int, m methods) ends {
	if last := len(e) - 1; last >= 0 && e[last].rule == rule {
		e[last].methods = e[last].union(m)
		return e
	}
	return append(e, end{rule: rule, methods: m})
}

// child returns the node of a segment of a pattern, which it adds if there is none.
func (n *node) child(segment string) *node {
	if segment == "*" {
		if n.any == nil {
			n.any = newNode()
		}
		return n.any
	}
	found := n.named.find(segment)
	if found == nil {
		found = newNode()
		n.named.add(segment, found)
	}
	return found
}

func (c *children) find(name string) *node {
	if c.index != nil {
		return c.index[name]
	}
	if i := slices.Index(c.names, name); i >= 0 {
		return c.nodes[i]
	}
	return nil
}

func (c *children) add(name string, n *node) {
	if c.index == nil && len(c.names) < maxListed {
		c.names, c.nodes = append(c.names, name), append(c.nodes, n)
		return
	}
	if c.index == nil {
		c.index = map[string]*node{}
		for i := range c.names {
			c.index[c.names[i]] = c.nodes[i]
		}
		c.names, c.nodes = nil, nil
	}
	c.index[name] = n
}

// search finds the first rule for a request.
type search struct {
	method string
	bit    uint16
	// best is the first rule found so far.
	best int
	// steps is the number of nodes and ends that were looked at.
	steps int
}

// run searches as check.Pattern.Match compares: one trailing slash is ignored, and further empty segments count as segments.
func (s *search) run(t *trie, path string) {
	s.take(t.anywhere)
	if path == "" || path[0] != '/' {
		return
	}
	s.visit(t.root, strings.TrimSuffix(path[1:], "/"), path != "/")
}

// visit searches n and what is below it. left is the rest of the path; more says that it has a segment, which may be empty. A branch
// that has only later rules than one that was found is left out.
func (s *search) visit(n *node, left string, more bool) {
	if n.least >= s.best {
		return
	}
	s.steps++
	s.take(n.below)
	if !more {
		s.take(n.here)
		return
	}
	segment, left, more := strings.Cut(left, "/")
	first, second := n.named.find(segment), n.any
	if first == nil || second != nil && second.least < first.least {
		first, second = second, first
	}
	if first != nil {
		s.visit(first, left, more)
	}
	if second != nil {
		s.visit(second, left, more)
	}
}

// take notes the first of the rules that matches the method.
func (s *search) take(rules ends) {
	for i := range rules {
		if rules[i].rule >= s.best {
			return
		}
		s.steps++
		if rules[i].has(s.method, s.bit) {
			s.best = rules[i].rule
			return
		}
	}
}
