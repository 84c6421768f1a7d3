package console

import "sync"

// notice is a result that is shown once, on the page after a form.
type notice struct {
	Text   string
	Failed bool
}

// maxNotices bounds the results that wait for their page.
const maxNotices = 32

// notices keeps results under random names, so that no link can make a page show a text.
type notices struct {
	mu  sync.Mutex
	all map[string]notice
}

// add keeps a result and returns its name.
func (n *notices) add(result notice) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil || len(n.all) >= maxNotices {
		n.all = map[string]notice{}
	}
	name := newSecret()
	n.all[name] = result
	return name
}

// take returns a result and forgets it; nil if there is none.
func (n *notices) take(name string) *notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	result, ok := n.all[name]
	if !ok {
		return nil
	}
	delete(n.all, name)
	return &result
}
