package attack

import (
	"net"
	"testing"
)

// TestFullBudgetsFit fills each budget, and all of them, with what needs most memory, and asserts that the sidecar stays below the limit of
// its container.
func TestFullBudgetsFit(t *testing.T) {
	type holders struct {
		budget string
		hold   func(*flood, net.Conn)
		// each is how many one client holds.
		each int
	}
	requests, sockets := holders{`"requests"`, fullStreams(2, "/both"), 2}, holders{`"upgrades"`, idleSocket, 1}
	encoded := holders{`"requests"`, unreadEncoded(2, "br"), 2} // the response of those without an encoder is not compressed
	tests := map[string][]holders{
		"requests": {requests}, "compressed": {encoded}, "slow bodies": {{`"requests"`, slowBody, 1}}, "upgrades": {sockets},
		"requests and upgrades": {requests, sockets}, "compressed and upgrades": {encoded, sockets},
	}
	for name, all := range tests {
		t.Run(name, func(t *testing.T) {
			d := open(t, exempt)
			for _, h := range all {
				most := d.metric(t, "postern_budget_max", h.budget)
				start(t, d, int(most)/h.each, many, h.hold)
				eventually(t, h.budget+" is full", func() bool {
					// Unknown clients share by connection, so the last places are hard to get.
					return d.metric(t, "postern_budget_open", h.budget) >= most*85/100
				})
			}
			settled(t, d)
			now, peak := d.memory(t)
			t.Logf("%s: %d MiB now, at most %d MiB", name, now>>20, peak>>20)
			if peak >= containerLimit {
				t.Errorf("%d MiB; the container has %d MiB", peak>>20, containerLimit>>20)
			}
			if _, err := d.ask("/healthz"); err != nil {
				t.Errorf("the admin port: %v", err)
			}
		})
	}
}
