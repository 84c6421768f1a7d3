package revocation

import (
	"context"
	"errors"
	"time"
)

// ErrGap ends Feed.Follow where changes were missed: the whole content is to be loaded again.
var ErrGap = errors.New("revocations were missed")

// Feed is a store as an Index reads it.
type Feed interface {
	// Load hands the whole content to apply, in parts. What is added meanwhile is in the content or follows the cursor.
	Load(ctx context.Context, apply func([]Entry)) (Cursor, error)
	// Follow hands every change after from to sink until ctx ends or it fails; the error is ErrGap where it cannot follow.
	// At least every half of maxSilence it tells the sink that nothing was missed.
	Follow(ctx context.Context, from Cursor, maxSilence time.Duration, sink Sink) error
	// Find returns those of the entries that the store holds, by ID; only Kind, Issuer and Value of the argument count.
	Find(ctx context.Context, entries []Entry) ([]Entry, error)
	// Count returns the number of entries.
	Count(ctx context.Context) (int, error)
}

// Cursor is where a reader is.
type Cursor struct {
	Position
	// Tip is a random name of the last change: two stores that count alike after a failover still differ in it.
	Tip string
	// Offset is the store's own name of the last change.
	Offset string
}

// Sink takes what a Feed finds.
type Sink interface {
	// Apply adds entries; all changes up to the cursor have been handed over.
	Apply(c Cursor, entries []Entry)
	// Fresh says that at the time at the store held nothing that was not handed over. An error ends the following with it.
	Fresh(ctx context.Context, at time.Time) error
}
