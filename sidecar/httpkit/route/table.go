package route

// Table finds the rules that match a request. The cost depends on the path, and hardly on the number of rules. It is immutable, and
// looking up does not allocate.
type Table struct {
	// exact is for paths with regard to case, and folded for folded ones. They are the same if no pattern has a letter that folding
	// changes.
	exact, folded *trie
}

// NewTable returns the table of rules, each with the index of its matcher. A nil matcher matches nothing.
func NewTable(rules []*Matcher) *Table {
	t := &Table{exact: newTrie()}
	t.folded = t.exact
	for _, m := range rules {
		if m != nil && m.folds() {
			t.folded = newTrie()
		}
	}
	for i, m := range rules {
		if m == nil {
			continue
		}
		for k := range m.alternatives {
			a := &m.alternatives[k]
			t.exact.add(i, a.methods, a.paths)
			if t.folded != t.exact {
				t.folded.add(i, a.methods, a.folded)
			}
		}
	}
	return t
}

// folds reports whether a pattern differs from its folded form.
func (m *Matcher) folds() bool {
	for i := range m.alternatives {
		a := &m.alternatives[i]
		for k := range a.paths {
			exact, _ := a.paths[k].Segments()
			folded, _ := a.folded[k].Segments()
			for s := range exact {
				if exact[s] != folded[s] {
					return true
				}
			}
		}
	}
	return false
}

// First returns the index of the first rule that matches method and the reading i of target, and -1 if none does.
func (t *Table) First(method string, target *Target, i int) int {
	return t.first(method, target.Reading(i), target.ignoreCase)
}

// FirstExact returns the index of the first rule that matches method and path with regard to case, and -1 if none does.
func (t *Table) FirstExact(method, path string) int { return t.first(method, path, false) }

func (t *Table) first(method, path string, ignoreCase bool) int {
	s := t.search(method, path, ignoreCase)
	if s.best == noRule {
		return -1
	}
	return s.best
}

// search returns the finished search for the first rule.
func (t *Table) search(method, path string, ignoreCase bool) search {
	s := search{method: method, bit: methodBit(method), best: noRule}
	if ignoreCase {
		s.run(t.folded, path)
	} else {
		s.run(t.exact, path)
	}
	return s
}
