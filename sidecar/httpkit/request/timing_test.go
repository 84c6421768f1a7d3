package request

import (
	"testing"
	"time"
)

// TestTiming: what is left of the whole time, without the waits, is the sidecar's own. Reads of a body beside the app's response do not count.
func TestTiming(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	var timing Timing
	if d, asked := timing.InApp(); d != 0 || asked || timing.Overhead(time.Second) != time.Second {
		t.Errorf("before the app is asked: %s, %t", d, asked)
	}
	timing.ReadClient(ago(time.Second))
	timing.Asked()
	timing.ReadClient(ago(time.Hour))
	timing.App(ago(2 * time.Second))
	timing.WroteClient(ago(3 * time.Second))
	timing.Delayed(ago(4 * time.Second))
	if d, asked := timing.InApp(); d < 2*time.Second || d > time.Minute || !asked {
		t.Errorf("in the app: %s, %t", d, asked)
	}
	if d := timing.Overhead(time.Hour); d > time.Hour-10*time.Second || d < time.Hour-time.Minute {
		t.Errorf("overhead %s", d)
	}
	if d := timing.Overhead(5 * time.Second); d != 0 {
		t.Errorf("overhead %s of a request with concurrent waits", d)
	}
	var none *Timing
	none.Asked()
	none.App(ago(0))
	none.ReadClient(ago(0))
	none.WroteClient(ago(0))
	none.Delayed(ago(0))
}
