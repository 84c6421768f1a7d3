package accesslog

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/httpkit/tracing"
)

const waits = 30 * time.Millisecond

// slow is a client that takes waits for each read and write.
type slow struct{ http.ResponseWriter }

func (s slow) Write(b []byte) (int, error) {
	time.Sleep(waits)
	return s.ResponseWriter.Write(b)
}

func (s slow) Read(b []byte) (int, error) {
	time.Sleep(waits)
	return 0, io.EOF
}

// served is a sink of Request events.
type served struct{ last event.Served }

func (*served) Kinds() event.Kinds     { return event.Of(event.Request) }
func (s *served) Record(e event.Event) { s.last = *e.Served }

// histograms serves one request of a slow client by chain, and returns the histograms by name.
func histograms(t *testing.T, trace string, chain stage.Func) (map[string]*dto.Histogram, event.Served) {
	t.Helper()
	registry, sink := prometheus.NewRegistry(), &served{}
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{
		Metrics: m, Events: event.NewStream("shop/orders", m.Sink(nil), sink), Logger: slog.New(slog.DiscardHandler),
		Tracing: tracing.New(tracing.Config{Trusted: func(*http.Request) bool { return true }}),
	}, chain)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		r := httptest.NewRequest("POST", "/", io.NopCloser(slow{}))
		if trace != "" {
			r.Header.Set("Traceparent", "00-"+trace+"-0123456789abcdef-01")
		}
		h.ServeHTTP(slow{httptest.NewRecorder()}, r)
	}()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.Histogram{}
	for _, f := range families {
		if f.GetType() == dto.MetricType_HISTOGRAM {
			found[strings.TrimPrefix(f.GetName(), "postern_http_request_")] = f.GetMetric()[0].GetHistogram()
		}
	}
	return found, sink.last
}

// TestOverhead: the waits for the client and the app are not overhead.
func TestOverhead(t *testing.T) {
	found, s := histograms(t, "", func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.ReadAll(r.Body)
		timing := request.From(r).Timing
		timing.Asked()
		timing.App(time.Now().Add(-time.Hour))
		_, err := w.Write([]byte("x"))
		return err
	})
	if s.Elapsed < 2*waits || s.InApp < time.Hour || !s.AskedApp || s.Overhead != 0 {
		t.Errorf("%+v", s)
	}
	if n := found["app_seconds"].GetSampleSum(); n < 3600 {
		t.Errorf("app: %v s", n)
	}
	if n := found["duration_seconds"].GetSampleCount(); n != 1 {
		t.Errorf("%d durations", n)
	}
	found, s = histograms(t, "", func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.ReadAll(r.Body)
		_, err := w.Write([]byte("x"))
		return err
	})
	if s.Overhead > s.Elapsed-2*waits || s.AskedApp {
		t.Errorf("without the app: %+v", s)
	}
	if found["app_seconds"].GetSampleCount() != 0 || found["overhead_seconds"].GetSampleCount() != 1 {
		t.Errorf("without the app: %v", found)
	}
	found, _ = histograms(t, "", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	if found["overhead_seconds"].GetSampleCount() != 0 || found["duration_seconds"].GetSampleCount() != 1 {
		t.Errorf("an aborted response: %v", found)
	}
}

// TestNativeHistogramsAndExemplars: each histogram has both forms, and the id of a sampled trace. An invalid id is not used.
func TestNativeHistogramsAndExemplars(t *testing.T) {
	const valid = "4bf92f3577b34da6a3ce929d0e0e4736"
	for trace, want := range map[string]bool{valid: true, "": false, strings.ToUpper(valid): false, strings.Repeat("x", 500): false, "\xff": false} {
		found, _ := histograms(t, trace, func(_ http.ResponseWriter, r *http.Request) error {
			request.From(r).Timing.Asked()
			return &httperr.Error{Status: 404, Code: "none"}
		})
		for name, h := range found {
			exemplars := 0
			for _, b := range h.GetBucket() {
				if e := b.GetExemplar(); e != nil && e.GetLabel()[0].GetName() == "trace_id" && e.GetLabel()[0].GetValue() == trace {
					exemplars++
				}
			}
			if h.GetSchema() == 0 || len(h.GetBucket()) < 10 || len(h.GetPositiveSpan())+len(h.GetNegativeSpan())+int(h.GetZeroCount()) == 0 {
				t.Errorf("%s is not both a classic and a native histogram: %v", name, h)
			}
			if (exemplars == 1) != want {
				t.Errorf("%s with the trace %q has %d exemplars", name, trace, exemplars)
			}
		}
	}
}
