package breaker

import "testing"

func TestBreaker(t *testing.T) {
	var b Breaker
	for range Threshold - 1 {
		b.Fail()
	}
	b.Succeed()
	for i := range Threshold {
		if opened := b.Fail(); opened != (i == Threshold-1) {
			t.Errorf("failure %d after a success opened it: %v", i+1, opened)
		}
	}
	if b.Fail() || b.Trip() {
		t.Error("opened twice")
	}
	if b.Succeed(); !b.Open() {
		t.Error("a late reply closed it; only a probe may")
	}
	if !b.Reset() || b.Open() || b.Reset() {
		t.Error("reset must report once that a probe closed it")
	}
	if b.Fail() {
		t.Error("one failure after a probe opened it")
	}
	if !b.Trip() || !b.Open() {
		t.Error("a server of no use did not open it at once")
	}
}
