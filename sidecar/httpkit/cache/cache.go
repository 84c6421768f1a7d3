// Package cache holds what was computed for texts that clients send, such as the identities of verified tokens. A hit takes no lock
// and no memory. The number of entries, and the sum of their weights, are bounded. Clients cannot choose texts that collide.
package cache

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
)

// Cache holds values by key. It is safe for concurrent use. If it is full, an entry that was not used for some time is evicted first
// (CLOCK, or second chance). An entry that is new and was not used again goes before one that is used often, so many keys that are used
// once do not evict it.
type Cache[V any] struct {
	seed    maphash.Seed
	buckets []atomic.Pointer[node[V]]

	mu sync.Mutex // for all changes
	// ring holds the entries; free are the indexes of its holes. hand is the index of the next entry to be evicted if it is unused.
	ring           []*node[V]
	free           []int
	hand           int
	entries        int
	weight, budget int64
}

// node is an entry in the list of its bucket. Only next and used change. Readers may still be at a node that was removed: its next
// stays as it was.
type node[V any] struct {
	next   atomic.Pointer[node[V]]
	hash   uint64
	key    string
	value  V
	weight int64
	place  int // in ring
	used   atomic.Bool
}

// New returns a cache for up to entries entries, whose weights have a sum up to budget. A budget of 0 is no limit.
func New[V any](entries int, budget int64) (*Cache[V], error) {
	if entries <= 0 || budget < 0 {
		return nil, fmt.Errorf("creating cache: %d entries or a budget of %d are not a size", entries, budget)
	}
	if budget == 0 {
		budget = math.MaxInt64
	}
	return &Cache[V]{
		seed: maphash.MakeSeed(), buckets: make([]atomic.Pointer[node[V]], 1<<bits.Len(uint(entries-1))), entries: entries, budget: budget,
	}, nil
}

// Get returns the value of key.
func (c *Cache[V]) Get(key string) (value V, ok bool) {
	n, _ := c.find(key)
	if n == nil {
		return value, false
	}
	if !n.used.Load() { // a write for every hit would move the memory between processors
		n.used.Store(true)
	}
	return n.value, true
}

// find returns the node of key, or nil, and the number of nodes that it looked at.
func (c *Cache[V]) find(key string) (n *node[V], steps int) {
	hash := maphash.String(c.seed, key)
	for n = c.bucket(hash).Load(); n != nil; n = n.next.Load() {
		steps++
		if n.hash == hash && n.key == key {
			return n, steps
		}
	}
	return nil, steps
}

func (c *Cache[V]) bucket(hash uint64) *atomic.Pointer[node[V]] {
	return &c.buckets[hash&uint64(len(c.buckets)-1)]
}

// Put sets the value of key. The cache keeps a copy of key. A value that weighs more than the budget is not kept.
func (c *Cache[V]) Put(key string, value V, weight int) {
	n := &node[V]{hash: maphash.String(c.seed, key), key: strings.Clone(key), value: value, weight: int64(weight)}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, _ := c.find(key)
	if old != nil {
		c.remove(old)
	}
	if n.weight > c.budget {
		return
	}
	for c.count() >= c.entries || c.weight+n.weight > c.budget {
		c.evict()
	}
	c.place(n)
	c.weight += n.weight
	head := c.bucket(n.hash)
	n.next.Store(head.Load())
	head.Store(n)
}

// Remove removes the entry of key, if there is one.
func (c *Cache[V]) Remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, _ := c.find(key); n != nil {
		c.remove(n)
	}
}

// Len returns the number of entries, and the sum of their weights.
func (c *Cache[V]) Len() (entries int, weight int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count(), c.weight
}

func (c *Cache[V]) count() int { return len(c.ring) - len(c.free) }

// place puts n in the hole that was made last, which the hand reaches last.
func (c *Cache[V]) place(n *node[V]) {
	if last := len(c.free) - 1; last >= 0 {
		n.place, c.free = c.free[last], c.free[:last]
		c.ring[n.place] = n
		return
	}
	n.place, c.ring = len(c.ring), append(c.ring, n)
}

// evict removes the next entry that was not used since the hand passed it. The second turn takes any: readers may use all entries in the
// meantime. There must be an entry.
func (c *Cache[V]) evict() {
	for steps := 0; ; steps++ {
		n := c.ring[c.hand]
		c.hand = (c.hand + 1) % len(c.ring)
		if n != nil && (!n.used.Swap(false) || steps >= len(c.ring)) {
			c.remove(n)
			return
		}
	}
}

// remove takes n out of its bucket and of the ring.
func (c *Cache[V]) remove(n *node[V]) {
	link := c.bucket(n.hash)
	for at := link.Load(); at != n; at = link.Load() {
		link = &at.next
	}
	link.Store(n.next.Load())
	c.ring[n.place] = nil
	c.free = append(c.free, n.place)
	c.weight -= n.weight
}
