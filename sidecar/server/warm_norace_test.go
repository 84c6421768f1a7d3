//go:build !race

package server

// dropped is how many allocations the race detector adds to a request, because it makes pools drop values at random.
const dropped = 0
