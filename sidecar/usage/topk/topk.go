// Package topk finds the most frequent keys of an endless stream in bounded memory. It is the space-saving algorithm (Metwally, Agrawal, El
// Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005) with counts that decay exponentially (Cormode,
// Shkapenyuk, Srivastava, Xu: Forward Decay, 2009). A key with more than 1/Size of all counts is never lost, however many other keys there are.
package topk

import (
	"container/heap"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// MaxKey bounds a key, in bytes. Of a longer key the beginning is used.
	MaxKey = 128
	// gone is the count below which a key is forgotten, and pruneEvery how often that is looked for.
	gone       = 0.5
	pruneEvery = time.Minute
	// rescale is the largest weight of one event before all counts are divided by it.
	rescale = 1 << 40
)

// Sketch counts keys. It is safe for concurrent use.
type Sketch struct {
	size     int
	halfLife time.Duration
	now      func() time.Time

	mu      sync.Mutex
	entries entries
	byKey   map[string]*entry
	// start is the time at which an event has the weight 1.
	start, pruned time.Time
}

// entry is a key. Its true count is between count-excess and count, both in weights.
type entry struct {
	key           string
	count, excess float64
	last          time.Time
	index         int
}

// Count is a key with its count at the time of Top.
type Count struct {
	Key string
	// AtLeast and AtMost are the bounds of the count, in events. An event counts half after the half-life.
	AtLeast, AtMost float64
	Last            time.Time
}

// New returns a sketch of up to size keys.
func New(size int, halfLife time.Duration, now func() time.Time) *Sketch {
	return &Sketch{size: size, halfLife: halfLife, now: now, byKey: make(map[string]*entry, size), start: now(), pruned: now()}
}

// Add counts an event of a key.
func (s *Sketch) Add(key string) {
	if len(key) > MaxKey {
		key = strings.ToValidUTF8(key[:MaxKey], "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	weight := s.weight(now)
	if e := s.byKey[key]; e != nil {
		e.count, e.last = e.count+weight, now
		heap.Fix(&s.entries, e.index)
		return
	}
	key = strings.Clone(key)
	if len(s.entries) < s.size {
		e := &entry{key: key, count: weight, last: now}
		s.byKey[key] = e
		heap.Push(&s.entries, e)
		return
	}
	e := s.entries[0] // the least frequent: the new key may have had all of its events
	delete(s.byKey, e.key)
	e.key, e.excess, e.count, e.last = key, e.count, e.count+weight, now
	s.byKey[key] = e
	heap.Fix(&s.entries, 0)
}

// weight returns the weight of an event now, and forgets keys that have faded.
func (s *Sketch) weight(now time.Time) float64 {
	weight := s.at(now)
	if weight > rescale {
		for _, e := range s.entries {
			e.count, e.excess = e.count/weight, e.excess/weight
		}
		s.start, weight = now, 1
	}
	if now.Sub(s.pruned) >= pruneEvery {
		s.pruned = now
		s.prune(weight)
	}
	return weight
}

func (s *Sketch) at(now time.Time) float64 {
	return math.Exp2(max(0, float64(now.Sub(s.start))/float64(s.halfLife)))
}

func (s *Sketch) prune(weight float64) {
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool {
		faded := e.count < gone*weight
		if faded {
			delete(s.byKey, e.key)
		}
		return faded
	})
	for i, e := range s.entries {
		e.index = i
	}
	heap.Init(&s.entries)
}

// Top returns up to n keys, the most frequent first. It leaves out those of which it is not certain that one event is recent.
func (s *Sketch) Top(n int) []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	weight := s.weight(s.now())
	counts := make([]Count, 0, len(s.entries))
	for _, e := range s.entries {
		if c := (Count{e.key, (e.count - e.excess) / weight, e.count / weight, e.last}); c.AtLeast >= gone {
			counts = append(counts, c)
		}
	}
	slices.SortFunc(counts, func(a, b Count) int {
		switch {
		case a.AtLeast > b.AtLeast:
			return -1
		case a.AtLeast < b.AtLeast:
			return 1
		}
		return strings.Compare(a.Key, b.Key)
	})
	return counts[:min(n, len(counts))]
}

// entries is a heap with the least frequent key first.
type entries []*entry

func (h entries) Len() int           { return len(h) }
func (h entries) Less(i, j int) bool { return h[i].count < h[j].count }
func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *entries) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface. The sketch never pops.
func (h *entries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
