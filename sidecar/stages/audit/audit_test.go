package audit

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// trail is full for one client or not.
type trail bool

var client = netip.MustParseAddr("192.0.2.1")

func (t trail) FullFor(addr netip.Addr) bool { return bool(t) && addr == client }

// recorder records refusals.
type recorder struct{ events []event.Event }

func (*recorder) Kinds() event.Kinds     { return event.Of(event.RequestRefused) }
func (r *recorder) Record(e event.Event) { r.events = append(r.events, e) }

func TestStage(t *testing.T) {
	tests := map[string]struct {
		full                      trail
		ruleShadow, policyShadow  bool
		wantReached, wantRecorded bool
	}{
		"room":                  {wantReached: true},
		"full":                  {full: true, wantRecorded: true},
		"full, in shadow":       {full: true, ruleShadow: true, wantReached: true, wantRecorded: true},
		"full, policy a shadow": {full: true, policyShadow: true, wantReached: true, wantRecorded: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Trail: tt.full, Shadow: tt.ruleShadow})
			if err != nil {
				t.Fatal(err)
			}
			sink, reached := &recorder{}, false
			h := s(stage.Func(func(http.ResponseWriter, *http.Request) error { reached = true; return nil }))
			info := &request.Info{ClientAddr: client, Shadow: tt.policyShadow, Events: event.NewStream("shop/orders", sink)}
			r := request.With(httptest.NewRequest(http.MethodPost, "/users", nil), info)
			err = h.ServeHTTP(httptest.NewRecorder(), r)
			if reached != tt.wantReached || (err == nil) != tt.wantReached {
				t.Errorf("reached %t with error %v; want %t", reached, err, tt.wantReached)
			}
			var refusal *httperr.Error
			if err != nil && (!errors.As(err, &refusal) || refusal.Status != 503 || refusal.Code != "audit-unavailable" || refusal.Header.Get("Retry-After") != "5") {
				t.Errorf("refused with %+v", err)
			}
			if recorded := len(sink.events) == 1; recorded != tt.wantRecorded {
				t.Errorf("events %+v; want one: %t", sink.events, tt.wantRecorded)
			}
		})
	}
}

func TestNoTrail(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a stage without a trail lets requests pass that nobody records")
	}
}
