package token_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/login/token"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := token.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
	event.NewStream("shop/orders", m).Emit(event.Event{Kind: event.Refresh, Reason: "rotated"})
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gathered %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, metric := range families[0].GetMetric() {
		labels := metric.GetLabel()
		got[labels[0].GetValue()+" "+labels[1].GetValue()] = metric.GetCounter().GetValue()
	}
	// A count of 0 is a value, too: increase() counts the first event only if its series exists before.
	for name, want := range map[string]float64{
		"refresh rotated": 1, "refresh reused": 0, "login ok": 0, "login tokens-unavailable": 0, "login_ignored route": 0, "logout_all ok": 0, "session_end ok": 0,
		"revocation subject": 0, "session_ended ok": 0, "session_evicted ok": 0, "backchannel_logout ok": 0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s: %v, %v; want %v", name, value, ok, want)
		}
	}
}
