package chaintest

import "testing"

// Allocations returns how many allocations one call of f needs. It is the least of several averages: those of other goroutines count as well, and so
// does refilling the pools that the garbage collector has emptied.
func Allocations(f func()) float64 {
	least := testing.AllocsPerRun(200, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(200, f))
	}
	return least
}
