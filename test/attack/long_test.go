//go:build attack

package attack

import (
	"os"
	"testing"
	"time"
)

// TestLong runs all attacks at once for ATTACK_TIME (10m), and prints how honest clients fare each minute: make attack.
func TestLong(t *testing.T) {
	lasts := 10 * time.Minute
	if text := os.Getenv("ATTACK_TIME"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, nil)
	h := serve(t, d, 8)
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(time.Second) {
	}
	t.Logf("before the attacks: %s", h.report(d, t))
	h.stop()
	h = serve(t, d, 8)
	for _, a := range attacks() {
		start(t, d, a.clients, a.from, a.hold)
	}
	for begin := time.Now(); time.Since(begin) < lasts; {
		for tick := time.Now(); time.Since(tick) < min(time.Minute, lasts); time.Sleep(time.Second) {
			if _, err := d.ask("/readyz"); err != nil {
				t.Errorf("the admin port: %v", err)
			}
		}
		t.Logf("after %s: %s; refused %.0f, slow bodies %.0f", time.Since(begin).Round(time.Second), h.report(d, t),
			d.metric(t, "postern_overload_refusals_total"), d.metric(t, "postern_slow_bodies_total"))
	}
	h.stop()
	if len(h.fails) > 0 {
		t.Errorf("%d of %d honest requests failed, the first: %s", len(h.fails), len(h.took), h.fails[0])
	}
	if _, peak := d.memory(t); peak >= containerLimit {
		t.Errorf("%d MiB; the container has %d MiB", peak>>20, containerLimit>>20)
	}
}
