package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/telemetry/collectortest"
)

// changing is a secret that is rotated.
type changing struct{ value atomic.Value }

func (c *changing) Read(context.Context) (secret.Value, error) {
	s, ok := c.value.Load().(string)
	if !ok {
		return secret.Value{}, errors.New("there is no secret")
	}
	return secret.New([]byte(s)), nil
}

var quiet = slog.New(slog.DiscardHandler)

func newMetrics(t testing.TB) *Metrics {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, c Config) *Traces {
	t.Helper()
	if c.Metrics == nil {
		c.Metrics = newMetrics(t)
	}
	if c.Logger == nil {
		c.Logger = quiet
	}
	c.Identity = Identity{Service: "postern-orders", Namespace: "shop", Pod: "orders-0", Version: "v1"}
	c.Interval, c.Endpoint.Retry = 5*time.Millisecond, time.Millisecond
	traces, err := NewTraces(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traces.Close)
	return traces
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// endpoint returns the connection to c.
func endpoint(c *collectortest.Collector, protocol Protocol) Endpoint {
	return Endpoint{Address: c.Addr(), Protocol: protocol}
}

// TestExport: spans arrive at real servers of both protocols, in plain text and with TLS, with the resource and the configured headers.
func TestExport(t *testing.T) {
	for _, protocol := range []Protocol{GRPC, HTTP} {
		for _, secure := range []bool{false, true} {
			t.Run(string(protocol)+map[bool]string{true: " with TLS"}[secure], func(t *testing.T) {
				var server *tls.Config
				var trust *TLS
				if secure {
					var ca []byte
					server, ca = collectortest.Secure(t)
					trust = &TLS{CABundle: ca, ServerName: "otel.test"}
				}
				collector := collectortest.Start(t, protocol == HTTP, server)
				headers := &changing{}
				headers.value.Store("authorization=Bearer%20one, x-tenant=shop")
				e := endpoint(collector, protocol)
				e.TLS, e.Headers = trust, headers
				if protocol == HTTP {
					e.Address += "/otlp/"
				}
				traces := open(t, Config{Endpoint: e, SampleRatio: 1})
				_, span := traces.Tracer("t").Start(t.Context(), "GET /orders")
				span.End()
				eventually(t, "the span", func() bool { return len(collector.Spans()) == 1 })
				if got := collector.Spans()[0]; got.Name != "GET /orders" {
					t.Errorf("span %v", got)
				}
				wantResource(t, collector.ResourceSpans()[0])
				headers.value.Store("authorization=Bearer%20two")
				_, span = traces.Tracer("t").Start(t.Context(), "later")
				span.End()
				eventually(t, "the second span", func() bool { return len(collector.Spans()) == 2 })
				for i, want := range []string{"Bearer one", "Bearer two"} {
					if got := field0(collector.Headers()[i], "authorization"); got != want {
						t.Errorf("authorization %q; want %q", got, want)
					}
				}
			})
		}
	}
}

// field0 returns the first value of a field. gRPC has names in lower case.
func field0(h map[string][]string, name string) string {
	for n, values := range h {
		if strings.EqualFold(n, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func wantResource(t *testing.T, got *tracepb.ResourceSpans) {
	t.Helper()
	attributes := map[string]string{}
	for _, a := range got.Resource.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	for key, want := range map[string]string{"service.name": "postern-orders", "k8s.namespace.name": "shop", "k8s.pod.name": "orders-0", "service.version": "v1"} {
		if attributes[key] != want {
			t.Errorf("resource %v; want %s=%s", attributes, key, want)
		}
	}
}

// TestUntrustedCollector: a collector whose certificate is not trusted, or has another name, gets nothing.
func TestUntrustedCollector(t *testing.T) {
	server, ca := collectortest.Secure(t)
	_, other := collectortest.Secure(t)
	for name, trust := range map[string]*TLS{"another CA": {CABundle: other, ServerName: "otel.test"}, "another name": {CABundle: ca, ServerName: "other.test"}} {
		for _, protocol := range []Protocol{GRPC, HTTP} {
			t.Run(name+", "+string(protocol), func(t *testing.T) {
				collector := collectortest.Start(t, protocol == HTTP, server)
				e := endpoint(collector, protocol)
				e.TLS, e.Retry = trust, time.Millisecond
				logs, err := NewLogs(LogsConfig{Endpoint: e, Identity: Identity{Service: "s"}, Metrics: newMetrics(t)})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				if _, err := logs.Export(ctx, []Record{{Body: []byte("x")}}); err == nil || len(collector.Raw()) > 0 {
					t.Errorf("error %v, and it got %d bytes", err, len(collector.Raw()))
				}
			})
		}
	}
}

// TestCollectorAway: while the collector is away, spans are dropped and counted, ending a span does not wait, and no more than the queue
// and a batch are kept. After it is back, spans arrive again.
func TestCollectorAway(t *testing.T) {
	for _, protocol := range []Protocol{GRPC, HTTP} {
		t.Run(string(protocol), func(t *testing.T) {
			collector := collectortest.Start(t, protocol == HTTP, nil)
			metrics := newMetrics(t)
			traces := open(t, Config{Endpoint: endpoint(collector, protocol), SampleRatio: 1, Metrics: metrics})
			release := collector.Hold()
			const sent = 3 * queueSize
			for range sent {
				_, span := traces.Tracer("t").Start(t.Context(), "x")
				span.End()
			}
			dropped := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropFull))
			if dropped < sent-queueSize-2*batchSize {
				t.Errorf("%v of %d spans were dropped; the queue has %d", dropped, sent, queueSize)
			}
			release()
			eventually(t, "the rest", func() bool { return float64(len(collector.Spans()))+dropped == sent })
			collector.Stop()
			collector.Restart(t)
			eventually(t, "a span after the restart", func() bool {
				_, span := traces.Tracer("t").Start(t.Context(), "after")
				span.End()
				spans := collector.Spans()
				return spans[len(spans)-1].Name == "after"
			})
		})
	}
}

// TestAccounting: every span is exported, rejected, or lost in an export that failed.
func TestAccounting(t *testing.T) {
	for _, protocol := range []Protocol{GRPC, HTTP} {
		t.Run(string(protocol), func(t *testing.T) {
			collector := collectortest.Start(t, protocol == HTTP, nil)
			metrics := newMetrics(t)
			var log bytes.Buffer
			traces := open(t, Config{Endpoint: endpoint(collector, protocol), SampleRatio: 1, Metrics: metrics, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			one := func() {
				_, span := traces.Tracer("t").Start(t.Context(), "x")
				span.End()
			}
			count := func(reason string) func() bool {
				return func() bool { return testutil.ToFloat64(metrics.dropped.WithLabelValues(reason)) == 1 }
			}
			collector.Reject(1)
			one()
			eventually(t, "the rejection", count(dropRejected))
			collector.Reject(0)
			collector.Fail(status.Error(codes.Unauthenticated, "secret words"))
			one()
			eventually(t, "the refusal", count(dropFailed))
			code := codes.Unavailable
			if protocol == HTTP {
				code = 503
			}
			collector.Fail(status.Error(code, ""), status.Error(code, ""))
			one()
			eventually(t, "the repetition", func() bool { return testutil.ToFloat64(metrics.exported) == 1 })
			traces.Close()
			if strings.Contains(log.String(), "secret words") || !strings.Contains(log.String(), "could not be exported") {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

// TestClose: what is queued is exported, and a collector that does not respond delays the end only for a moment, with all spans counted.
func TestClose(t *testing.T) {
	collector := collectortest.Start(t, false, nil)
	metrics := newMetrics(t)
	traces := open(t, Config{Endpoint: endpoint(collector, GRPC), SampleRatio: 1, Metrics: metrics})
	for range 1000 {
		_, span := traces.Tracer("t").Start(t.Context(), "x")
		span.End()
	}
	traces.Close()
	if n := len(collector.Spans()); n != 1000 {
		t.Errorf("%d spans; want 1000", n)
	}
	release := collector.Hold()
	defer release()
	traces = open(t, Config{Endpoint: endpoint(collector, GRPC), SampleRatio: 1, Metrics: metrics})
	_, span := traces.Tracer("t").Start(t.Context(), "x")
	span.End()
	traces.Close()
	if n := testutil.ToFloat64(metrics.dropped.WithLabelValues(dropFailed)); n != 1 {
		t.Errorf("%v spans are counted as lost; want 1", n)
	}
}

// TestSampling: the ratio decides about traces without a parent, and the parent about the others.
func TestSampling(t *testing.T) {
	collector := collectortest.Start(t, false, nil)
	tests := map[string]struct {
		ratio  float64
		parent trace.TraceFlags
		remote bool
		want   bool
	}{
		"none of all":             {ratio: 0},
		"all":                     {ratio: 1, want: true},
		"a sampled parent":        {ratio: 0, remote: true, parent: trace.FlagsSampled, want: true},
		"a parent without sample": {ratio: 1, remote: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			traces := open(t, Config{Endpoint: endpoint(collector, GRPC), SampleRatio: tt.ratio})
			ctx := t.Context()
			if tt.remote {
				ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: tt.parent, Remote: true,
				}))
			}
			_, span := traces.Tracer("t").Start(ctx, "x")
			if got := span.SpanContext().IsSampled(); got != tt.want {
				t.Errorf("sampled %v; want %v", got, tt.want)
			}
		})
	}
}

func TestSettingsAreChecked(t *testing.T) {
	valid := Config{Endpoint: Endpoint{Address: "otel:4317", Protocol: GRPC}, Identity: Identity{Service: "s"}, Metrics: newMetrics(t), Logger: quiet}
	for name, change := range map[string]func(*Config){
		"protocol": func(c *Config) { c.Endpoint.Protocol = "thrift" },
		"address":  func(c *Config) { c.Endpoint.Address = "" },
		"ratio":    func(c *Config) { c.SampleRatio = 1.5 },
		"CA":       func(c *Config) { c.Endpoint.TLS = &TLS{CABundle: []byte("nope")} },
		"service":  func(c *Config) { c.Identity.Service = "" },
	} {
		c := valid
		change(&c)
		if traces, err := NewTraces(c); err == nil {
			traces.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	tests := map[string]struct {
		text string
		want []headerField
		bad  bool
	}{
		"none":              {text: ""},
		"one":               {text: "a=b", want: []headerField{{"A", "b"}}},
		"spaces":            {text: " a = b , c=d\n", want: []headerField{{"A", "b"}, {"C", "d"}}},
		"percent":           {text: "authorization=Basic%20a%3D%3D", want: []headerField{{"Authorization", "Basic a=="}}},
		"equals in a value": {text: "a=b==", want: []headerField{{"A", "b=="}}},
		"no value":          {text: "secret", bad: true},
		"no name":           {text: "=secret", bad: true},
		"a bad name":        {text: "a b=secret", bad: true},
		"a line break":      {text: "a=secret%0D%0AX:y", bad: true},
		"bad percent":       {text: "a=secret%", bad: true},
		"too many":          {text: strings.Repeat("a=secret,", maxHeaders+1), bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseHeaders(tt.text)
			if (err != nil) != tt.bad || err != nil && strings.Contains(err.Error(), "secret") {
				t.Fatalf("error %v", err)
			}
			if len(got) != len(tt.want) {
				if !tt.bad {
					t.Fatalf("%v; want %v", got, tt.want)
				}
				return
			}
			for i := range tt.want {
				if got[i] != tt.want[i] {
					t.Errorf("%v; want %v", got, tt.want)
				}
			}
		})
	}
}

func FuzzParseHeaders(f *testing.F) {
	f.Add("authorization=Basic%20a%3D%3D,b=c")
	f.Fuzz(func(t *testing.T, text string) {
		fields, _ := parseHeaders(text)
		for _, h := range fields {
			if h.name == "" || strings.ContainsAny(h.name+h.value, "\r\n\x00") {
				t.Errorf("%q gives %q", text, h)
			}
		}
	})
}

func FuzzParsePartial(f *testing.F) {
	f.Add([]byte{0x0a, 0x02, 0x08, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := parsePartial(b); len(p.text) > 4*256 || p.of(10) < 0 || p.of(10) > 10 {
			t.Errorf("%+v", p)
		}
	})
}

// TestNoCollector: what is not a collector is an error, and not a success.
func TestNoCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
			_ = conn.Close()
		}
	}()
	logs, err := NewLogs(LogsConfig{Endpoint: Endpoint{Address: l.Addr().String(), Protocol: GRPC, Retry: time.Millisecond}, Identity: Identity{Service: "s"}, Metrics: newMetrics(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if done, err := logs.Export(ctx, []Record{{Body: []byte("x")}}); err == nil || done.Done != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}
