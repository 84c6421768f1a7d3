package cache

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
)

func newCache(t testing.TB, entries int, budget int64) *Cache[int] {
	t.Helper()
	c, err := New[int](entries, budget)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBounds(t *testing.T) {
	tests := map[string]struct {
		entries       int
		budget        int64
		weight, wants int
	}{
		"by number":          {entries: 10, weight: 1, wants: 10},
		"one":                {entries: 1, weight: 1, wants: 1},
		"by weight":          {entries: 1000, budget: 100, weight: 8, wants: 12},
		"heavier than all":   {entries: 1000, budget: 100, weight: 101, wants: 0},
		"number, not weight": {entries: 10, budget: 100, weight: 10, wants: 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, tt.entries, tt.budget)
			for i := range 50 {
				c.Put(strconv.Itoa(i), i, tt.weight)
				if n, weight := c.Len(); n > tt.entries || weight != int64(n*tt.weight) || tt.budget > 0 && weight > tt.budget {
					t.Fatalf("%d entries of weight %d after %d", n, weight, i)
				}
			}
			if n, _ := c.Len(); n != tt.wants {
				t.Errorf("%d entries; want %d", n, tt.wants)
			}
			if v, ok := c.Get("49"); ok != (tt.wants > 0) || ok && v != 49 {
				t.Errorf("the latest is %d, %v", v, ok)
			}
			kept := 0
			for i := range 50 {
				if v, ok := c.Get(strconv.Itoa(i)); ok && v == i {
					kept++
				}
			}
			if kept != tt.wants {
				t.Errorf("%d are found; want %d", kept, tt.wants)
			}
		})
	}
	if _, err := New[int](0, 0); err == nil {
		t.Error("a cache without room")
	}
}

// TestUsedEntriesStay: keys that are used once do not evict one that is used all the time.
func TestUsedEntriesStay(t *testing.T) {
	c := newCache(t, 100, 0)
	c.Put("hot", 7, 1)
	for i := range 10_000 {
		if v, ok := c.Get("hot"); !ok || v != 7 {
			t.Fatalf("evicted after %d others", i)
		}
		c.Put(strconv.Itoa(i), i, 1)
	}
}

func TestPutReplaces(t *testing.T) {
	c := newCache(t, 4, 0)
	c.Put("a", 1, 10)
	c.Put("a", 2, 30)
	if v, ok := c.Get("a"); !ok || v != 2 {
		t.Errorf("%d, %v", v, ok)
	}
	if n, weight := c.Len(); n != 1 || weight != 30 {
		t.Errorf("%d entries of weight %d", n, weight)
	}
	c.Remove("a")
	c.Remove("a")
	if _, ok := c.Get("a"); ok {
		t.Error("removed, and found")
	}
	if n, weight := c.Len(); n != 0 || weight != 0 {
		t.Errorf("%d entries of weight %d", n, weight)
	}
}

func TestHitDoesNotAllocate(t *testing.T) {
	c := newCache(t, 10, 0)
	c.Put("key", 1, 1)
	if n := testing.AllocsPerRun(100, func() { c.Get("key"); c.Get("other") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCostIsFlat: a look-up in a full cache takes about as many steps as one in a cache with one entry. A step is a comparison of hashes.
func TestCostIsFlat(t *testing.T) {
	for _, entries := range []int{1, 4096, 100_000} {
		c := newCache(t, entries, 0)
		for i := range entries {
			c.Put(strconv.Itoa(i), i, 1)
		}
		total := 0
		for i := range entries {
			n, steps := c.find(strconv.Itoa(i))
			if n == nil {
				t.Fatalf("%d of %d is not there", i, entries)
			}
			total += steps
		}
		if mean := float64(total) / float64(entries); mean > 2 {
			t.Errorf("%d entries: %.2f steps for each look-up", entries, mean)
		}
	}
}

// TestConcurrentUse: a key has no value but its own, and the bounds and the count hold.
func TestConcurrentUse(t *testing.T) {
	c := newCache(t, 64, 1000)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				k := (i*7 + worker) % 200
				key := fmt.Sprint(k)
				if v, ok := c.Get(key); ok && v != k {
					t.Errorf("%s is %d", key, v)
				}
				switch i % 3 {
				case 0:
					c.Put(key, k, k%30+1)
				case 1:
					c.Remove(key)
				}
			}
		})
	}
	wg.Wait()
	n, weight := c.Len()
	found, sum := 0, int64(0)
	for _, node := range c.ring {
		if node != nil {
			found, sum = found+1, sum+node.weight
			if at, _ := c.find(node.key); at != node {
				t.Errorf("%s is in the ring and not in its bucket", node.key)
			}
		}
	}
	if found != n || sum != weight || n > 64 || weight > 1000 {
		t.Errorf("%d entries of weight %d; counted %d and %d", found, sum, n, weight)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, entries := range []int{1, 4096, 100_000} {
		c, keys := newCache(b, entries, 0), make([]string, entries)
		for i := range keys {
			keys[i] = fmt.Sprintf("%0600d", i)
			c.Put(keys[i], i, 1)
		}
		b.Run(fmt.Sprintf("%d entries", entries), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, ok := c.Get(keys[i%len(keys)]); !ok {
						b.Error("not found")
					}
				}
			})
		})
	}
}
