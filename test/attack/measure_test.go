package attack

import (
	"net"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// exempt lets one address hold everything, so that a test can fill a budget.
func exempt(p *compiled.Policy) {
	p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
	none := 0
	p.Sidecar.Requests = &compiled.RequestLimits{MinBodyRate: &none}
	p.Compression = &compiled.Compression{}
}

// A load is something that clients hold open. cost is how many bytes one needs at most, in docs/security.md.
var loads = map[string]struct {
	hold func(*flood, net.Conn)
	// clients and each: each client holds each things.
	clients, each int
	// atApp is 1 if the app has them too.
	atApp int
	cost  int
}{
	"idle connection":            {idleConn, 1000, 1, 0, costConnection},
	"HTTP/1.1 request with body": {slowBody, 300, 1, 1, costRequest},
	"HTTP/2 stream with body":    {silentStreams(3), 100, 3, 1, costRequest},
	"HTTP/1.1 response, unread":  {unread, 300, 1, 1, costRequest},
	"HTTP/2 response, unread":    {unreadStreams(3), 100, 3, 1, costRequest},
	"HTTP/1.1 body, not taken":   {fullBody, 300, 1, 1, costRequest},
	"HTTP/2 body, not taken":     {fullStreams(3, "/blocked"), 100, 3, 1, costRequest},
	"HTTP/2, both":               {fullStreams(3, "/both"), 100, 3, 1, costRequest},
	"HTTP/2 response, zstd":      {unreadEncoded(3, "zstd"), 7, 3, 1, costRequest + costEncoder},
	"HTTP/2 response, br":        {unreadEncoded(3, "br"), 7, 3, 1, costRequest + costEncoder},
	"HTTP/2 response, gzip":      {unreadEncoded(3, "gzip"), 7, 3, 1, costRequest + costEncoder},
	"idle WebSocket":             {idleSocket, 800, 1, 1, costSocket},
}

// TestCosts measures what each load needs, and prints it: go test ./test/attack -run Costs -v. A connection is part of what uses it.
func TestCosts(t *testing.T) {
	for name, load := range loads {
		t.Run(name, func(t *testing.T) {
			d := open(t, exempt)
			before := d.inUse(t)
			n := load.clients * load.each
			f := start(t, d, load.clients, many, load.hold)
			eventually(t, "everything is open", func() bool {
				return f.open.Load() == int64(n) && (load.atApp == 0 || d.app.open.Load() == int64(n))
			})
			settled(t, d)
			each := (d.inUse(t) - before) / n
			t.Logf("%s: %d bytes each, with %d of them; the idle sidecar has %d MiB", name, each, n, before>>20)
			if each > load.cost {
				t.Errorf("%d bytes each; docs/security.md says at most %d", each, load.cost)
			}
		})
	}
}

// settled waits until the sidecar's memory no longer grows.
func settled(t *testing.T, d *door) {
	t.Helper()
	last := d.inUse(t)
	eventually(t, "the memory no longer grows", func() bool {
		before := last
		time.Sleep(200 * time.Millisecond)
		last = d.inUse(t)
		return last < before+before/100
	})
}
