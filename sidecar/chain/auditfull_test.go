package chain

import (
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// fullness is an audit trail that the test fills.
type fullness struct{ atomic.Bool }

func (f *fullness) Full() bool              { return f.Load() }
func (f *fullness) FullFor(netip.Addr) bool { return f.Load() }

// trailPolicy returns a policy with an audit trail.
func trailPolicy(change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Audit = &compiled.Audit{
			Events: compiled.AuditCategories(), Sinks: []string{compiled.AuditLog}, Format: compiled.AuditFormatPostern, OnFailure: compiled.Deny, Mode: compiled.Enforce,
		}
		p.AuditOptions = &compiled.AuditOptions{SpoolBytes: 1 << 20, CheckpointInterval: compiled.Duration(time.Minute)}
		p.CORS = &compiled.CORS{AllowOrigins: []string{"https://app.example.com"}}
		if change != nil {
			change(p)
		}
	})
}

// TestFullAuditTrail: while the trail is full, with onFailure Deny neither the app nor an endpoint of the sidecar is reached, and with
// Allow, or in shadow mode, everything is. It needs no new document when the trail has room again.
func TestFullAuditTrail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change      func(*compiled.Policy)
		wantRefused bool
	}{
		"Deny":               {nil, true},
		"Allow":              {func(p *compiled.Policy) { p.Audit.OnFailure = compiled.Allow }, false},
		"in shadow":          {func(p *compiled.Policy) { p.Audit.Mode = compiled.Shadow }, false},
		"a policy in shadow": {func(p *compiled.Policy) { p.Mode = compiled.Shadow }, false},
	}
	requests := map[string]sent{
		"a page":       {method: "GET", path: "/public/page"},
		"a login":      {method: "POST", path: "/login"},
		"a private":    {method: "GET", path: "/orders"},
		"a refresh":    {method: "POST", path: "/auth/refresh"},
		"the key set":  {method: "GET", path: "/auth/jwks.json"},
		"a logout-all": {method: "POST", path: "/auth/logout-all"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			trail := &fullness{}
			s := w.sidecarOf(w.shared(), trailPolicy(tt.change)).ready()
			s.cfg.Trail = trail
			s.apply(trailPolicy(tt.change))
			for _, full := range []bool{false, true, false} {
				trail.Store(full)
				for request, r := range requests {
					before := w.reached.Load()
					g := s.send(r)
					refused := g.status == 503 && g.code() == "audit-unavailable"
					if refused != (full && tt.wantRefused) || refused && w.reached.Load() != before {
						t.Errorf("%s, full %t: %d %s, app reached: %t", request, full, g.status, g.text, w.reached.Load() != before)
					}
					if refused && g.header.Get("Retry-After") == "" {
						t.Errorf("%s: no Retry-After", request)
					}
				}
				preflight := s.send(sent{method: "OPTIONS", path: "/orders", header: http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"}}})
				if preflight.status != 204 {
					t.Errorf("a preflight, full %t: %d", full, preflight.status)
				}
			}
		})
	}
}
