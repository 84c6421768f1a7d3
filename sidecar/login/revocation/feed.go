package revocation

import (
	"context"
	"errors"
	"time"
)

// ErrGap ends Feed.Follow if changes were missed. The whole content must then be loaded again.
var ErrGap = errors.New("revocations were missed")

// ErrUnproven ends Feed.Load if the whole content was read, and the store could not prove that it is current.
var ErrUnproven = errors.New("the revocations may not be current")

// Feed is the part of a store that an Index reads.
type Feed interface {
	// Load passes the whole content to apply, in parts. What is added during Load is in the content or follows the cursor. The error
	// matches ErrUnproven if the content is all that the store has, but may not be current.
	Load(ctx context.Context, apply func([]Entry)) (Cursor, error)
	// Follow passes every change after from to sink until ctx ends or it fails. The error is ErrGap if changes were missed. It
	// calls Sink.Fresh at least once per half of maxSilence, or Sink.Doubt.
	Follow(ctx context.Context, from Cursor, maxSilence time.Duration, sink Sink) error
	// Find returns those of the entries that the store holds, by ID. Only Kind, Issuer and Value of the argument are used.
	Find(ctx context.Context, entries []Entry) ([]Entry, error)
	// Count returns the number of entries.
	Count(ctx context.Context) (int, error)
}

// Cursor is the position of a reader.
type Cursor struct {
	Position
	// Tip is a random name of the last change. It differs between two stores with the same sequence after a failover.
	Tip string
	// Offset is the store's own id of the last change.
	Offset string
}

// Sink receives the changes of a Feed.
type Sink interface {
	// Apply adds entries. All changes up to the cursor have been passed.
	Apply(c Cursor, entries []Entry)
	// Doubt reports that what was passed may not be everything, because the store is not known to be current. If it returns an
	// error, Follow ends with it.
	Doubt(cause error) error
	// Fresh reports that everything in the store at the time at has been passed. If it returns an error, Follow ends with it.
	Fresh(ctx context.Context, at time.Time) error
}
