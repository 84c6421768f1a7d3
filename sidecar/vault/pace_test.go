package vault

import (
	"testing"
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
