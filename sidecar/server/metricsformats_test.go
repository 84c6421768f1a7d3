package server

import (
	"net/http/httptest"
	"strings"
	"testing"

	"bufio"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
)

// TestFormatsOfMetrics: the admin port serves exemplars to scrapers that ask for OpenMetrics, and native histograms to those that ask for protocol
// buffers.
func TestFormatsOfMetrics(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	registry := prometheus.NewRegistry()
	m, err := accesslog.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.Sink(nil).Record(event.Event{Kind: event.Request, TraceID: trace, Sampled: true, Served: &event.Served{Method: "GET", Status: 200}})
	get := func(accept string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		adminHandler(&health{}, registry, nil).ServeHTTP(w, r)
		return w
	}
	if text := get("application/openmetrics-text;version=1.0.0").Body.String(); !strings.Contains(text, `# {trace_id="`+trace+`"}`) || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("OpenMetrics has no exemplar:\n%s", text)
	}
	if text := get("").Body.String(); strings.Contains(text, trace) {
		t.Errorf("the text format has an exemplar:\n%s", text)
	}
	body := bufio.NewReader(get("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited").Body)
	native := false
	for {
		var f dto.MetricFamily
		if err := protodelim.UnmarshalFrom(body, &f); err != nil {
			break
		}
		native = native || f.GetName() == "postern_http_request_duration_seconds" && f.GetMetric()[0].GetHistogram().GetZeroCount() == 1
	}
	if !native {
		t.Error("protocol buffers have no native histogram")
	}
}
