package token_test

import (
	"maps"
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
		got[metric.GetLabel()[1].GetValue()] = metric.GetCounter().GetValue()
	}
	// A count of 0 is a value, too: an alert on the first reuse needs a series that increases.
	if want := map[string]float64{"rotated": 1, "reused": 0}; !maps.Equal(got, want) {
		t.Errorf("counted %v; want %v", got, want)
	}
}
