package request

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// slots is a context that keeps up to room values in place.
type slots struct {
	context.Context
	room   int
	values map[any]any
}

func (s *slots) SetValue(key, value any) bool {
	if _, known := s.values[key]; !known && len(s.values) == s.room {
		return false
	}
	s.values[key] = value
	return true
}

func (s *slots) Value(key any) any {
	if v, ok := s.values[key]; ok {
		return v
	}
	return s.Context.Value(key)
}

// TestSetInPlace: a context with room keeps values in place, and any other is wrapped. In both cases the request has the value.
func TestSetInPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		ctx         context.Context
		wantInPlace bool
	}{
		"room":         {&slots{t.Context(), 2, map[any]any{}}, true},
		"no room":      {&slots{t.Context(), 0, map[any]any{}}, false},
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
