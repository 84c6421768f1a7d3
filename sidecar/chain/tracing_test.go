package chain

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/telemetry/collectortest"
)

// traced is a sidecar that exports traces.
type tracedSidecar struct {
	*sidecar
	collector *collectortest.Collector
	events    *eventLog
	log       *buffer
}

// exporting starts a sidecar that exports the share ratio of traces.
func exporting(t *testing.T, ratio float64, change func(*compiled.Policy)) *tracedSidecar {
	t.Helper()
	w := newWorld(t)
	s := &tracedSidecar{collector: collectortest.Start(t, false, nil), events: &eventLog{}, log: &buffer{}}
	w.log = slog.New(slog.NewJSONHandler(s.log, nil))
	p := loginPolicy(func(p *compiled.Policy) {
		p.Sidecar.AccessLog = "All"
		p.Telemetry = &compiled.Telemetry{OTLP: &compiled.OTLP{Endpoint: s.collector.Addr(), Protocol: compiled.OTLPGRPC, SampleRatio: ratio}}
		if change != nil {
			change(p)
		}
	})
	s.sidecar = w.sidecar(p)
	s.cfg.Sinks = []event.Sink{s.events}
	s.apply(p)
	s.ready()
	return s
}

// spans waits for n spans, which it returns by name.
func (s *tracedSidecar) spans(t *testing.T, n int) map[string]*tracepb.Span {
	t.Helper()
	redistest.Eventually(t, "the spans", func() bool { return len(s.collector.Spans()) >= n })
	byName := map[string]*tracepb.Span{}
	for _, span := range s.collector.Spans() {
		byName[span.Name] = span
	}
	return byName
}

func attributesOf(s *tracepb.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		m[a.Key] = a.Value.GetStringValue()
		if n := a.Value.GetIntValue(); n != 0 {
			m[a.Key] = http.StatusText(int(n))
		}
	}
	return m
}

// TestTraces: a request is a trace of the server's span with the calls of Redis and of the app below it. The app gets the span of its
// call, and the event and the access log have the id of the trace.
func TestTraces(t *testing.T) {
	server := redistest.Start(t, redistest.Options{})
	s := exporting(t, 1, func(p *compiled.Policy) {
		onRedis(p, server.Addr)
		p.RateLimits = []compiled.RateLimit{{
			Name: "all", Limit: 100, Period: compiled.Duration(60e9), Burst: 100, KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}},
			Mode: compiled.Enforce, OnFailure: compiled.Deny,
		}}
	})
	g := s.send(sent{method: "GET", path: "/public/42?q=1"})
	if g.status != 200 {
		t.Fatal(g.status, g.text)
	}
	spans := s.spans(t, 3)
	root, app, redis := spans["GET /public/**"], spans["GET"], spans["redis"]
	if root == nil || app == nil || redis == nil {
		t.Fatalf("spans %v", spans)
	}
	if root.Kind != tracepb.Span_SPAN_KIND_SERVER || len(root.ParentSpanId) != 0 || app.Kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("kinds %v, %v; the parent of the root is %x", root.Kind, app.Kind, root.ParentSpanId)
	}
	for _, child := range []*tracepb.Span{app, redis} {
		if !bytes.Equal(child.ParentSpanId, root.SpanId) || !bytes.Equal(child.TraceId, root.TraceId) {
			t.Errorf("%s is not a child of the request", child.Name)
		}
	}
	a := attributesOf(root)
	if a["http.route"] != "/public/**" || a["http.request.method"] != "GET" || a["http.response.status_code"] != "OK" ||
		a["postern.request_id"] != g.header.Get("X-Request-ID") || a["postern.policy"] != "shop/orders" {
		t.Errorf("attributes %v", a)
	}
	id := hex.EncodeToString(root.TraceId)
	if !strings.Contains(g.text, `"Traceparent":["00-`+id+"-"+hex.EncodeToString(app.SpanId)+`-01"]`) {
		t.Errorf("the app got %s", g.text)
	}
	s.wantTraceID(t, id, true)
}

func (s *tracedSidecar) wantTraceID(t *testing.T, id string, sampled bool) {
	t.Helper()
	events := s.events.all()
	if len(events) == 0 {
		t.Fatal("no event")
	}
	for _, e := range events {
		if e.TraceID != id || e.Sampled != sampled || sampled && e.SampledTrace() != id || !sampled && e.SampledTrace() != "" {
			t.Errorf("event %s has the trace %q, sampled %v; want %q, %v", e.Kind, e.TraceID, e.Sampled, id, sampled)
		}
	}
	for _, line := range s.log.lines(t) {
		if got, _ := line["trace_id"].(string); line["msg"] == "request" && got != id {
			t.Errorf("line %v; want the trace %q", line, id)
		}
	}
}

// TestTraceOfARefusal: the span says what refused the request, and a refusal is no error of the server.
func TestTraceOfARefusal(t *testing.T) {
	s := exporting(t, 1, nil)
	if g := s.send(sent{method: "GET", path: "/orders"}); g.status != 401 {
		t.Fatal(g.status)
	}
	span := s.spans(t, 1)["GET"]
	if a := attributesOf(span); a["postern.code"] != "no-credentials" || a["postern.stage"] != "authz" || span.Status.GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("span %v", span)
	}
}

// TestTraceParents: the trace and the decision of a trusted proxy hold, and those of other clients do not.
func TestTraceParents(t *testing.T) {
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	tests := map[string]struct {
		ratio         float64
		off, trusted  bool
		flags         string
		wantTheirs    bool
		wantSampled   bool
		wantUnchanged bool
	}{
		"a client that asks for a trace":        {ratio: 0, flags: "01"},
		"a client that asks for no trace":       {ratio: 1, flags: "00", wantSampled: true},
		"a trusted proxy that asks for one":     {ratio: 0, trusted: true, flags: "01", wantTheirs: true, wantSampled: true},
		"a trusted proxy that asks for none":    {ratio: 1, trusted: true, flags: "00", wantTheirs: true},
		"a client, without a collector":         {off: true, flags: "01", wantUnchanged: true},
		"a trusted proxy, without a collector":  {off: true, trusted: true, flags: "01", wantTheirs: true, wantSampled: true, wantUnchanged: true},
		"an invalid parent of a trusted proxy":  {ratio: 1, trusted: true, flags: "zz", wantSampled: true},
		"an invalid parent without a collector": {off: true, trusted: true, flags: "zz", wantUnchanged: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := exporting(t, tt.ratio, func(p *compiled.Policy) {
				if tt.trusted {
					p.Sidecar.TrustedProxies = []string{"127.0.0.0/8"}
				}
				if tt.off {
					p.Telemetry = nil
				}
			})
			parent := "00-" + theirs + "-b7ad6b7169203331-" + tt.flags
			g := s.send(sent{method: "GET", path: "/public/x", header: http.Header{"Traceparent": {parent}, "Tracestate": {"a=1"}}})
			_, after, _ := strings.Cut(g.text, `"Traceparent":["`)
			toApp, _, _ := strings.Cut(after, `"`)
			if len(toApp) != 55 || (toApp == parent) != tt.wantUnchanged || strings.Contains(toApp, theirs) != (tt.wantTheirs || tt.wantUnchanged) {
				t.Errorf("the app got %q", toApp)
			}
			if state := strings.Contains(g.text, `"Tracestate":["a=1"]`); state != (tt.wantTheirs || tt.wantUnchanged) {
				t.Errorf("the app got the state: %v", state)
			}
			id := toApp[3:35]
			if tt.off && !tt.wantTheirs {
				id = ""
			}
			s.wantTraceID(t, id, tt.wantSampled)
			if tt.wantSampled && !tt.off {
				if span := s.spans(t, 2)["GET /public/**"]; hex.EncodeToString(span.TraceId) != id {
					t.Errorf("exported %x; want %s", span.TraceId, id)
				}
			}
			s.shared.Close()
			if n := len(s.collector.Spans()); !tt.wantSampled && n != 0 {
				t.Errorf("%d spans are exported", n)
			}
		})
	}
}

// TestTracesHaveNoSecrets: nothing that a client, the app or the policy keeps secret is in any byte that is exported.
func TestTracesHaveNoSecrets(t *testing.T) {
	server := redistest.Start(t, redistest.Options{})
	s := exporting(t, 1, func(p *compiled.Policy) { onRedis(p, server.Addr) })
	login := s.login("ada-the-subject")
	secrets := []string{login.access, login.refresh, "ada-the-subject", sid(t, login.access)}
	give := func(kind string) string {
		secret := "hidden-" + kind + "-7f3a"
		secrets = append(secrets, secret)
		return secret
	}
	s.use(login)
	for _, bearer := range []string{login.access, give("bearer")} {
		for _, path := range []string{"/public/", "/orders/", "/auth/", "/%2e%2e/"} {
			g := s.send(sent{
				method: "POST", path: path + give("path") + "?token=" + give("query"), bearer: bearer, body: `{"password":"` + give("password") + `"}`,
				header: http.Header{"Content-Type": {"application/json"}, "Cookie": {"session=" + give("cookie")}, "X-Api-Key": {give("key")}, "User-Agent": {give("agent")}, "Tracestate": {"a=" + give("state")}, "Baggage": {"a=" + give("baggage")}},
			})
			_ = g
		}
	}
	s.refresh(login)
	s.refresh(tokens{refresh: give("refresh")})
	redistest.Eventually(t, "the spans", func() bool { return len(s.collector.Spans()) > 12 })
	s.shared.Close()
	raw := s.collector.Raw()
	for _, secret := range secrets {
		if bytes.Contains(raw, []byte(secret)) || len(secret) > 60 && bytes.Contains(raw, []byte(secret[len(secret)-40:])) {
			t.Errorf("%q is exported", secret)
		}
	}
	if !bytes.Contains(raw, []byte("postern.request_id")) {
		t.Error("the scan sees no attributes")
	}
}
