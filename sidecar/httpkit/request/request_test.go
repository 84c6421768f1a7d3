package request

import (
	"errors"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

func TestRefuse(t *testing.T) {
	tests := map[string]struct {
		policyShadow, ruleShadow, wantPass bool
	}{
		"both enforce":     {},
		"rule in Shadow":   {ruleShadow: true, wantPass: true},
		"policy in Shadow": {policyShadow: true, wantPass: true},
		"both in Shadow":   {policyShadow: true, ruleShadow: true, wantPass: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			info := &Info{Shadow: tt.policyShadow}
			refusal := &httperr.Error{Status: 403, Code: "no"}
			err := info.Refuse(Rule{Stage: "authz", Name: "admins", Shadow: tt.ruleShadow}, refusal)
			// A nil *httperr.Error would still be a non-nil error, so the comparison is with the interface.
			if pass := err == nil; pass != tt.wantPass || (!pass && !errors.Is(err, refusal)) {
				t.Errorf("Refuse returned %v; want it to pass: %v", err, tt.wantPass)
			}
			want := Decision{Stage: "authz", Rule: "admins", Shadow: tt.wantPass, Err: refusal}
			if len(info.Decisions) != 1 || info.Decisions[0] != want {
				t.Errorf("recorded %+v; want %+v", info.Decisions, want)
			}
		})
	}
}

func TestFrom(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	first, second := From(r), From(r)
	if first == nil || first == second {
		t.Error("requests outside of the chain share an Info")
	}
	info := &Info{Path: "/a"}
	if got := From(With(r, info)); got != info {
		t.Errorf("the Info is %+v; want the given one", got)
	}
}

// sink records its events.
type sink []event.Event

func (s *sink) Kinds() event.Kinds   { return event.Of(event.Login, event.LimitHit) }
func (s *sink) Record(e event.Event) { *s = append(*s, e) }

// TestEmit: an event gets what is known about the request, and the actor of its token if the event has none.
func TestEmit(t *testing.T) {
	client, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	ada, bob := event.Actor{Subject: "ada", Session: "s1"}, event.Actor{Subject: "bob", Session: "s2"}
	tests := map[string]struct {
		info Info
		e    event.Event
		want event.Event
	}{
		"with the token's actor": {
			info: Info{RequestID: "r", ClientAddr: client, Actor: ada}, want: event.Event{RequestID: "r", ClientAddr: client, Actor: ada},
		},
		"in an external session": {
			info: Info{Actor: ada, Session: "e1"}, want: event.Event{Actor: event.Actor{Subject: "ada", Session: "e1"}},
		},
		"with another actor": {
			info: Info{ClientAddr: client, Actor: ada, Session: "e1"}, e: event.Event{Actor: bob}, want: event.Event{ClientAddr: client, Actor: bob},
		},
		"with another address": {info: Info{ClientAddr: client}, e: event.Event{ClientAddr: other}, want: event.Event{ClientAddr: other}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var inRequest, byContext sink
			tt.info.Events = event.NewStream("shop/orders", &inRequest)
			tt.e.Kind, tt.want.Kind, tt.want.Policy = event.Login, event.Login, "shop/orders"
			tt.info.Emit(tt.e)
			r := With(httptest.NewRequest("GET", "/", nil), &tt.info)
			Emit(r.Context(), event.NewStream("shop/orders", &byContext), tt.e)
			for how, got := range map[string]sink{"Info.Emit": inRequest, "Emit": byContext} {
				if len(got) != 1 {
					t.Fatalf("%s: events %+v", how, got)
				}
				if tt.want.Time = got[0].Time; got[0] != tt.want {
					t.Errorf("%s: %+v; want %+v", how, got[0], tt.want)
				}
			}
		})
	}
}

// TestEmitOutsideOfRequests: the event has only what the caller sets.
func TestEmitOutsideOfRequests(t *testing.T) {
	var got sink
	Emit(t.Context(), event.NewStream("shop/orders", &got), event.Event{Kind: event.Login, Actor: event.Actor{Subject: "ada"}})
	Emit(t.Context(), nil, event.Event{Kind: event.Login})
	if len(got) != 1 || got[0].Subject != "ada" || got[0].ClientAddr.IsValid() {
		t.Errorf("events %+v", got)
	}
}

// TestDecisionsAreEvents: a decision is emitted immediately, and not at the end of the request.
func TestDecisionsAreEvents(t *testing.T) {
	var got sink
	info := &Info{Events: event.NewStream("shop/orders", &got), Shadow: true}
	_ = info.Refuse(Rule{Stage: "ratelimit", Name: "login"}, &httperr.Error{Status: 429, Code: "rate-limited"})
	if len(got) != 1 || got[0].Kind != event.LimitHit || got[0].Outcome != event.Shadow || got[0].Rule != "login" || got[0].Reason != "rate-limited" {
		t.Errorf("events %+v", got)
	}
}
