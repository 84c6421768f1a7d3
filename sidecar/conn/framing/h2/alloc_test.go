//go:build !race

package h2

import (
	"bytes"
	"testing"
)

// TestRequestsAllocateNothing: the strings are those of the dynamic table.
func TestRequestsAllocateNothing(t *testing.T) {
	c := newClient().headers(1, browser...)
	first := bytes.Clone(c.sent.Bytes())
	c.headers(3, browser...)
	r := NewReader((&loop{next: first, again: c.sent.Bytes()[len(first):]}).read, Config{ListBytes: listBytes})
	buf := make([]byte, MaxFrame+headerSize)
	allocations := testing.AllocsPerRun(200, func() {
		r.last = 1
		if _, err := r.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocations >= 1 { // a collection may empty the pool, and the race detector does so at random
		t.Errorf("%v allocations a request", allocations)
	}
}
