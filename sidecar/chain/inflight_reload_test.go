package chain

import (
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestPlacesOutliveTheirConnection: another setting of the same Redis, or a policy without Redis, opens no connection that old requests
// use. They are counted until they end all the same.
func TestPlacesOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	const lease = 1500 * time.Millisecond
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	policy := func(timeout time.Duration) *compiled.Policy {
		return w.policy(server.Addr, func(p *compiled.Policy) {
			atMost(1, nil)(p)
			p.Redis.Timeout = compiled.Duration(timeout)
		})
	}
	s := w.sidecarOf(w.sharedBy(resources.Config{InFlightLease: lease, CloseDelay: time.Millisecond}), policy(5*time.Second)).ready()
	other := w.with(server.Addr, lease, atMost(1, nil))
	c := s.socket(t, "/public/socket")
	for i, p := range []*compiled.Policy{policy(6 * time.Second), w.policy("", atMost(1, nil))} {
		s.apply(p)
		for range 4 {
			time.Sleep(lease / 2)
			if g := other.send(sent{method: "GET", path: "/public/x"}); g.word() != "429 too-many-in-flight" {
				t.Errorf("after change %d: %s", i+1, g.word())
			}
		}
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	wantPlaces(t, server, 0)
}
