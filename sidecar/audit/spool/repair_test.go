package spool

import (
	"fmt"
	"os"
	"testing"
)

// TestFailedWrites: a spool whose disk was full for a while goes on, without what the failed write has left.
func TestFailedWrites(t *testing.T) {
	dir := t.TempDir()
	v, err := OpenVolume(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) error { return v.Append([]Item{{Kind: Record, Payload: []byte(fmt.Sprint("item", n))}}) }
	if err := add(0); err != nil {
		t.Fatal(err)
	}
	s := v.segments[0]
	name, size := s.file.Name(), s.size
	if _, err := s.file.WriteAt([]byte("the beginning of an item"), size); err != nil {
		t.Fatal(err)
	}
	_ = s.file.Close()
	if s.file, err = os.Open(name); err != nil { // which cannot be written
		t.Fatal(err)
	}
	used, _ := v.Usage()
	if err := add(9); err == nil {
		t.Fatal("a write succeeds")
	}
	if now, _ := v.Usage(); now != used {
		t.Errorf("%d bytes in use after a failed write; want %d", now, used)
	}
	for n := range 2 {
		if err := add(n + 1); err != nil {
			t.Fatalf("the write after a failed one: %v", err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err = OpenVolume(dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	items, err := v.Reader("sink").Next(t.Context(), 9, 1<<20)
	if err != nil || len(items) != 3 || string(items[2].Payload) != "item2" {
		t.Errorf("%v, %v", items, err)
	}
	if err := v.Close(); err != nil || v.Append(nil) == nil {
		t.Errorf("closed: %v", err)
	}
}
