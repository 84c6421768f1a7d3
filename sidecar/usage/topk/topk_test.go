package topk

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// TestHeavyHittersStay: keys that are frequent are found among 100,000 others, with bounds that hold.
func TestHeavyHittersStay(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	s := New(256, time.Hour, c.now)
	for i := range 100_000 {
		s.Add(fmt.Sprintf("rare%d", i))
		if i%100 == 0 {
			s.Add("ada")
		}
		if i%200 == 0 {
			s.Add("eve")
		}
	}
	top := s.Top(2)
	if len(top) != 2 || top[0].Key != "ada" || top[1].Key != "eve" {
		t.Fatalf("%+v", top)
	}
	for i, want := range []float64{1000, 500} {
		if top[i].AtLeast > want || top[i].AtMost < want || top[i].AtMost-top[i].AtLeast > 100_000/256+10 {
			t.Errorf("%s: from %v to %v; want %v between them", top[i].Key, top[i].AtLeast, top[i].AtMost, want)
		}
	}
	if len(s.entries) != 256 || len(s.byKey) != 256 {
		t.Errorf("%d entries, %d keys", len(s.entries), len(s.byKey))
	}
}

// TestDecay: a count halves in each half-life, and the key is forgotten at the end, also after a time in which nothing happened.
func TestDecay(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	s := New(8, time.Minute, c.now)
	for range 64 {
		s.Add("ada")
	}
	c.t = c.t.Add(3 * time.Minute)
	s.Add("eve")
	top := s.Top(5)
	if len(top) != 2 || top[0].AtLeast < 7.9 || top[0].AtLeast > 8.1 || top[1].AtLeast < 0.99 || !top[1].Last.Equal(c.t) {
		t.Errorf("%+v", top)
	}
	c.t = c.t.Add(8 * time.Minute)
	if top := s.Top(5); len(top) != 0 || len(s.byKey) != 0 {
		t.Errorf("%+v, %d keys are kept", top, len(s.byKey))
	}
	for range 100 { // far beyond the range of a float
		c.t = c.t.Add(24 * time.Hour)
		s.Add("ada")
		if top := s.Top(1); len(top) != 1 || top[0].AtLeast < 0.99 || top[0].AtMost > 1.01 {
			t.Fatalf("%+v", top)
		}
	}
	c.t = c.t.Add(-time.Hour) // a clock that was set back
	s.Add("ada")
	if top := s.Top(1); len(top) != 1 || top[0].AtMost > 2.01 {
		t.Errorf("%+v", top)
	}
}

// TestUncertainKeysAreLeftOut: a key that took the place of another is not shown with the other's count.
func TestUncertainKeysAreLeftOut(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	s := New(1, time.Hour, c.now)
	for range 100 {
		s.Add("ada")
	}
	s.Add("eve")
	top := s.Top(1)
	if len(top) != 1 || top[0].Key != "eve" || top[0].AtLeast != 1 || top[0].AtMost != 101 {
		t.Errorf("%+v", top)
	}
}

func TestKeysAreBounded(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	s := New(1, time.Hour, c.now)
	s.Add(strings.Repeat("é", 1000) + "x")
	if key := s.Top(1)[0].Key; len(key) > MaxKey || !utf8.ValidString(key) {
		t.Errorf("%d bytes: %q", len(key), key)
	}
}

func BenchmarkAdd(b *testing.B) {
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprint("203.0.113.", i)
	}
	s := New(256, time.Hour, time.Now)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(keys[i%len(keys)])
	}
}
