package spool

import (
	"context"
	"sync"
)

// Memory is a Spool in memory.
type Memory struct {
	limit int64

	mu    sync.Mutex
	items []Item
	used  int64
	// first is the number of items[0] among all items that were ever added.
	first   int
	readers []*memoryReader
	// added and removed are closed and replaced when items are added or removed.
	added, removed chan struct{}
}

// NewMemory returns an empty spool of at most limit bytes.
func NewMemory(limit int64) *Memory {
	return &Memory{limit: limit, added: make(chan struct{}), removed: make(chan struct{})}
}

// Append implements Spool.
func (m *Memory) Append(items []Item) error {
	size := sizeOf(items)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used > 0 && m.used+size > m.limit {
		return ErrFull
	}
	m.items, m.used = append(m.items, items...), m.used+size
	close(m.added)
	m.added = make(chan struct{})
	return nil
}

func sizeOf(items []Item) (size int64) {
	for _, i := range items {
		size += i.size()
	}
	return size
}

// Reader implements Spool.
func (m *Memory) Reader(string) Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &memoryReader{spool: m, next: m.first}
	m.readers = append(m.readers, r)
	return r
}

// Room implements Spool.
func (m *Memory) Room() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.removed
}

// Usage implements Spool.
func (m *Memory) Usage() (used, limit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used, m.limit
}

// Close implements Spool.
func (m *Memory) Close() error { return nil }

// trim removes the items that every reader has acknowledged. The caller holds the lock.
func (m *Memory) trim() {
	end := m.first + len(m.items)
	for _, r := range m.readers {
		end = min(end, r.next)
	}
	n := end - m.first
	if n == 0 {
		return
	}
	m.used -= sizeOf(m.items[:n])
	clear(m.items[:n]) // so that their memory is free before the next growth of the slice
	m.items, m.first = m.items[n:], end
	close(m.removed)
	m.removed = make(chan struct{})
}

type memoryReader struct {
	spool *Memory
	// next is the number of the first item that is not acknowledged.
	next int
}

// Next implements Reader.
func (r *memoryReader) Next(ctx context.Context, count int, size int64) ([]Item, error) {
	for {
		r.spool.mu.Lock()
		batch, added := first(r.spool.items[r.next-r.spool.first:], count, size), r.spool.added
		r.spool.mu.Unlock()
		if len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-added:
		}
	}
}

// first returns a copy of the first items within the bounds.
func first(items []Item, count int, size int64) []Item {
	n, total := 0, int64(0)
	for n < len(items) && n < count && (n == 0 || total+items[n].size() <= size) {
		total += items[n].size()
		n++
	}
	return append([]Item(nil), items[:n]...)
}

// Ack implements Reader.
func (r *memoryReader) Ack(n int) error {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.next += n
	r.spool.trim()
	return nil
}

// Pending implements Reader.
func (r *memoryReader) Pending() int {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	return r.spool.first + len(r.spool.items) - r.next
}
