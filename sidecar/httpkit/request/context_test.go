package request

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestSetInPlace: a context with room keeps values in place, and any other is wrapped. In both cases the request has the value.
func TestSetInPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		ctx         context.Context
		wantInPlace bool
	}{
		"room":         {&Slots{Context: t.Context()}, true},
		"no room":      {full(t.Context()), false},
		"another kind": {t.Context(), false},
	} {
		t.Run(name, func(t *testing.T) {
			r, info, why, trace := httptest.NewRequest("GET", "/", nil).WithContext(tt.ctx), &Info{Path: "/a"}, &Refusal{Stage: "s"}, &Trace{}
			with := With(r, info)
			if (with == r) != tt.wantInPlace || From(with) != info {
				t.Errorf("in place: %v, Info %+v", with == r, From(with))
			}
			if got := Refused(Refuse(with, why)); got != why {
				t.Errorf("refusal %+v", got)
			}
			if got := TraceOf(WithTrace(with, trace)); got != trace {
				t.Errorf("trace %+v", got)
			}
			End(with)
			if got := From(with); (got != info) != tt.wantInPlace {
				t.Errorf("after the end: %+v", got)
			}
		})
	}
}

// full returns Slots without room.
func full(ctx context.Context) *Slots {
	s := &Slots{Context: ctx}
	for i := 0; s.SetValue(i, i); i++ {
		continue
	}
	return s
}

// TestSlots: the values of the server's context are visible behind those of the request, and a later value replaces an earlier one.
func TestSlots(t *testing.T) {
	type server struct{}
	s := &Slots{Context: context.WithValue(t.Context(), server{}, "server's")}
	if !s.SetValue(key{}, "first") || !s.SetValue(key{}, "second") || s.Value(key{}) != "second" || s.Value(server{}) != "server's" || s.Value(traceKey{}) != nil {
		t.Errorf("%+v", s)
	}
	for i, s := 0, full(s); i < len(s.keys); i++ {
		if s.Value(i) != i || !s.SetValue(i, "again") || s.Value(i) != "again" || s.SetValue("more", 1) || s.Value("more") != nil {
			t.Errorf("%+v", s)
		}
	}
}

// TestDetach: what outlives a request keeps its ids, but neither its Info nor its context.
func TestDetach(t *testing.T) {
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), traceKey{}, "of the request"))
	info := &Info{RequestID: "r1", TraceID: "t1", ClientAddr: netip.MustParseAddr("192.0.2.1"), Actor: event.Actor{Subject: "ada"}}
	detached := Detach(With(httptest.NewRequest("GET", "/", nil).WithContext(ctx), info).Context())
	cancel()
	*info = Info{RequestID: "r2"} // another request
	var got sink
	Emit(detached, event.NewStream("shop/orders", &got), event.Event{Kind: event.Login})
	if len(got) != 1 || got[0].RequestID != "r1" || got[0].TraceID != "t1" || got[0].Subject != "ada" || !got[0].ClientAddr.IsValid() {
		t.Errorf("events %+v", got)
	}
	if detached.Err() != nil || detached.Value(traceKey{}) != nil {
		t.Errorf("%v, value %v", detached.Err(), detached.Value(traceKey{}))
	}
	if outside := Detach(t.Context()); outside.Value(key{}) != nil {
		t.Error("work outside of requests has an Info")
	}
}

// TestValues: lines are never shared between fields or requests, whatever is appended to them.
func TestValues(t *testing.T) {
	var first, second Info
	var all [][]string
	for i := range 2 * valuesRoom {
		all = append(all, first.Values(string(rune('a'+i))))
	}
	for _, lines := range all {
		_ = append(lines, "appended")
	}
	second.Values("other")
	for i, lines := range all {
		if len(lines) != 1 || lines[0] != string(rune('a'+i)) {
			t.Errorf("lines %d: %q", i, lines)
		}
	}
}
