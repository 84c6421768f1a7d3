package chain

import (
	"context"
	"net/http"
	"sync"
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

// TestResetStreamsHoldNoPlace: a client that opens HTTP/2 streams and resets them at once keeps nobody out.
func TestResetStreamsHoldNoPlace(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newHoldWorld(t)
	w.http2 = true
	s := w.with(server.Addr, 0, atMost(200, nil))
	var clients sync.WaitGroup
	for i := range 200 {
		clients.Go(func() {
			ctx, reset := context.WithTimeout(t.Context(), time.Minute)
			defer reset()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/public/hold", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if i%10 == 0 {
				go resetOnce(ctx, reset, func() bool { return w.reached.Load() > 0 })
			} else {
				time.AfterFunc(time.Duration(i)*100*time.Microsecond, reset)
			}
			if res, err := w.transport().RoundTrip(r); err == nil {
				_ = res.Body.Close()
			}
		})
	}
	clients.Wait()
	wantPlaces(t, server, 0)
	if w.reached.Load() == 0 {
		t.Error("no stream reached the app")
	}
	if g := s.send(sent{method: "GET", path: "/public/x"}); g.status != 200 {
		t.Errorf("afterwards: %d %s", g.status, g.text)
	}
}

// resetOnce resets a stream when ready, unless ctx ends before.
func resetOnce(ctx context.Context, reset func(), ready func() bool) {
	for ctx.Err() == nil && !ready() {
		time.Sleep(time.Millisecond)
	}
	reset()
}
