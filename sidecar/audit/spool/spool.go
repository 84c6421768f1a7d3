// Package spool keeps what the audit trail has written until every sink has it. It is bounded: when it is full, nothing is added until a
// sink has made room. It gives each reader the items in their order, and each item at least once.
//
// Memory loses its items with the process. Volume keeps them on a volume, and a container that starts again delivers them.
package spool

import (
	"context"
	"errors"
)

// Kind is what an item is.
type Kind byte

// The kinds of items. Their values are in files.
const (
	// Record is the JSON of a record; Hash is its hash.
	Record Kind = 1
	// Checkpoint is a signed note.
	Checkpoint Kind = 2
	// SubjectKey is the wrapped key of a subject, as JSON. It comes before the first record that needs it.
	SubjectKey Kind = 3
)

// Item is one item of a trail.
type Item struct {
	Kind    Kind
	Payload []byte
}

// overhead is what an item costs beside its payload, in bytes.
const overhead = 64

func (i Item) size() int64 { return int64(len(i.Payload)) + overhead }

// ErrFull says that there is no room.
var ErrFull = errors.New("the spool of the audit trail is full")

// Spool keeps items. It is safe for concurrent use.
type Spool interface {
	// Append adds all items, or none and returns ErrFull. An empty spool takes any items.
	Append(items []Item) error
	// Reader returns the reader of a sink. Each sink has one reader, and an item stays until all readers have acknowledged it.
	Reader(sink string) Reader
	// Room returns a channel that is closed when items have been removed since the call.
	Room() <-chan struct{}
	// Usage returns the size of the items and the bound, in bytes.
	Usage() (used, limit int64)
	// Close ends the use of the spool.
	Close() error
}

// Reader reads the items of a spool for one sink. It is for one goroutine.
type Reader interface {
	// Next waits for items, and returns the first ones that are not acknowledged: at most count items, of at most size bytes if they are
	// more than one. It fails only when ctx ends or the spool is damaged.
	Next(ctx context.Context, count int, size int64) ([]Item, error)
	// Ack acknowledges the first n items that Next returned last.
	Ack(n int) error
	// Pending returns the number of items that are not acknowledged.
	Pending() int
}
