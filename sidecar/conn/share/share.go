// Package share counts what each holder has of a limited number of places. A holder is what a limit is for: a client's network, a
// source of connections, or one connection. The caller decides how many a holder may have.
package share

// Counter counts the places of each holder. A holder without places is forgotten, so the memory is bounded by the number of places.
// It is not safe for concurrent use. The zero Counter is empty.
type Counter[K comparable] struct {
	held map[K]int
}

// Add counts one more place of k. It returns how many k has now.
func (c *Counter[K]) Add(k K) int {
	if c.held == nil {
		c.held = map[K]int{}
	}
	c.held[k]++
	return c.held[k]
}

// Remove counts one place of k less. It returns how many k has now. A holder without places stays at 0.
func (c *Counter[K]) Remove(k K) int {
	if c.held[k] > 1 {
		c.held[k]--
		return c.held[k]
	}
	delete(c.held, k)
	return 0
}

// Of returns how many places k has.
func (c *Counter[K]) Of(k K) int { return c.held[k] }

// Holders returns how many holders have a place.
func (c *Counter[K]) Holders() int { return len(c.held) }
