//go:build race

package chaintest

// Dropped is how many allocations the race detector adds to a request, because it makes pools drop values at random.
const Dropped = 10
