package revocation

import (
	"context"
	"sync/atomic"
	"time"
)

// never is the expiry of a document entry without one: it stays revoked for as long as the document lists it.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Listed holds the revocations in a policy's document. They apply from the start, without any store. It is safe for concurrent
// use.
type Listed struct {
	table *table
	now   func() time.Time
}

// NewListed returns a Listed with entries. An entry without Expires does not expire. Now defaults to time.Now.
func NewListed(entries []Entry, now func() time.Time) *Listed {
	if now == nil {
		now = time.Now
	}
	listed := make([]Entry, len(entries))
	for i, e := range entries {
		if e.Expires.IsZero() {
			e.Expires = never
		}
		listed[i] = e
	}
	l := &Listed{table: newTable(max(1, len(entries))), now: now}
	l.table.add(listed, now())
	return l
}

// Known is a Checker of all revocations that a sidecar knows: those of its document and of its Index. It is safe for concurrent
// use.
type Known struct {
	Listed *Listed
	// Index is nil if only the document applies.
	Index *Index
}

// Revoked implements Checker.
func (k Known) Revoked(ctx context.Context, q *Query) (bool, error) {
	if k.Listed != nil && k.Listed.table.revoked(q, k.Listed.now) {
		return true, nil
	}
	if k.Index == nil {
		return false, nil
	}
	return k.Index.Revoked(ctx, q)
}

// Age implements Checker. A document is never stale.
func (k Known) Age() time.Duration {
	if k.Index == nil {
		return 0
	}
	return k.Index.Age()
}

// Current is a Checker of the revocations of the active policy. Before the first policy it is empty. It is safe for concurrent
// use.
type Current struct{ known atomic.Pointer[Known] }

// Set replaces the revocations by those of another policy.
func (c *Current) Set(k Known) { c.known.Store(&k) }

// Revoked implements Checker.
func (c *Current) Revoked(ctx context.Context, q *Query) (bool, error) {
	return c.load().Revoked(ctx, q)
}

// Age implements Checker.
func (c *Current) Age() time.Duration { return c.load().Age() }

func (c *Current) load() Known {
	if k := c.known.Load(); k != nil {
		return *k
	}
	return Known{}
}
