package revocation

import (
	"context"
	"sync/atomic"
	"time"
)

// never is the end of an entry of a document that has none: a key stays revoked for as long as the document says so.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Listed is the revocations that a policy's document carries. They are known from the start, whatever becomes of any store.
// It is safe for concurrent use.
type Listed struct {
	table *table
	now   func() time.Time
}

// NewListed returns the entries as one look-up; an entry without Expires never ends. Now is time.Now if nil.
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

// Known is all that a sidecar knows of revocations: a Checker of what its document lists and of its Index. It is safe for
// concurrent use.
type Known struct {
	Listed *Listed
	// Index is nil where nothing but the document counts.
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

// Age implements Checker; a document is never out of date.
func (k Known) Age() time.Duration {
	if k.Index == nil {
		return 0
	}
	return k.Index.Age()
}

// Current is a Checker of what is revoked by the policy that is in force, whichever that is. Before the first, nothing is. It is
// safe for concurrent use.
type Current struct{ known atomic.Pointer[Known] }

// Set puts a policy's in force.
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
