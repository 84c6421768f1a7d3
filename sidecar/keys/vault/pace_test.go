package vault

import (
	"testing"
	"time"
)

func TestBackoffIsBounded(t *testing.T) {
	t.Parallel()
	b := backoff{pace: defaultPace()}
	if d := b.wait(); d < b.pace.first/2 || d > b.pace.first {
		t.Errorf("first wait = %s", d)
	}
	for range 20 {
		if d := b.wait(); d > b.pace.last {
			t.Fatalf("wait = %s; want at most %s", d, b.pace.last)
		}
	}
	b.reset()
	if d := b.wait(); d > b.pace.first {
		t.Errorf("wait after a success = %s", d)
	}
}

// TestWithin: a changed value is noticed within the interval that the SidecarClass states.
func TestWithin(t *testing.T) {
	for _, d := range []time.Duration{time.Nanosecond, time.Second, time.Hour} {
		for range 1000 {
			if got := within(d); got > d || got < d-d/5 {
				t.Fatalf("within %s: %s", d, got)
			}
		}
	}
}
