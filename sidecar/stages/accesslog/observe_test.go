package accesslog

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// logs holds JSON lines.
type logs struct{ logtest.Buffer }

// lines returns the decoded lines with msg.
func (l *logs) lines(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

// fixture is a handler with its metrics and log.
type fixture struct {
	http.Handler
	registry *prometheus.Registry
	logs     *logs
}

func observed(t testing.TB, mode Mode, chain stage.Handler) fixture {
	t.Helper()
	f := fixture{registry: prometheus.NewRegistry(), logs: &logs{}}
	m, err := NewMetrics(f.registry)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(f.logs, nil))
	log, err := NewLog(LogConfig{Mode: mode, Logger: logger, SampleRatio: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.Handler, err = New(Config{
		Metrics: m, Events: event.NewStream("shop/orders", m.Sink([]uint16{8080}), log), Logger: logger,
		Local: func(context.Context) netip.AddrPort { return netip.MustParseAddrPort("10.0.0.5:8080") },
	}, chain)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fixture) do(method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func (f fixture) want(t *testing.T, name, text string) {
	t.Helper()
	if err := testutil.GatherAndCompare(f.registry, strings.NewReader(text+"\n"), name); err != nil {
		t.Error(err)
	}
}

const requestsHeader = `# HELP postern_http_requests_total Requests by status code. Code 499: the client disconnected. Code aborted: the response was cut off.
# TYPE postern_http_requests_total counter
`

func TestRecord(t *testing.T) {
	f := observed(t, LogAll, stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		info := request.From(r)
		if info.Start.IsZero() || info.Local.Port() != 8080 {
			t.Errorf("record %+v", info)
		}
		info.Path, info.ClientAddr = "/normal", netip.MustParseAddr("192.0.2.7")
		info.Identity = &identity.Identity{Provider: "corp", Subject: "ada\u009b31m", TokenID: "t1"}
		_ = info.Refuse(request.Rule{Stage: "ratelimit", Name: "login", Shadow: true}, &httperr.Error{Status: 429, Code: "rate-limited"})
		w.WriteHeader(http.StatusCreated)
		_, err := io.WriteString(w, "made")
		return err
	}))
	f.do("POST", "/raw?token=secret")
	lines := f.logs.lines(t, "request")
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	line := lines[0]
	want := map[string]any{
		"method": "POST", "path": "/normal", "status": 201.0, "bytes": 4.0, "clientAddr": "192.0.2.7", "port": 8080.0, "protocol": "HTTP/1.1",
		"policy": "shop/orders", "provider": "corp", "subject": "ada\ufffd31m", "tokenId": "t1",
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s: %v, want %v", key, line[key], value)
		}
	}
	got, _ := json.Marshal(line["decisions"])
	if string(got) != `[{"code":"rate-limited","rule":"login","shadow":true,"stage":"ratelimit"}]` {
		t.Errorf("decisions %s", got)
	}
	if strings.Contains(f.logs.String(), "secret") {
		t.Error("the query is logged")
	}
	f.want(t, "postern_http_requests_total", requestsHeader+`postern_http_requests_total{code="201",method="POST",port="8080"} 1`)
	f.want(t, "postern_decisions_total", `# HELP postern_decisions_total Refusals by the policy's rules, in enforce or shadow mode.
# TYPE postern_decisions_total counter
postern_decisions_total{code="rate-limited",mode="shadow",rule="login",stage="ratelimit"} 1`)
	f.want(t, "postern_http_response_bytes_total", `# HELP postern_http_response_bytes_total Bytes of response bodies, without upgraded connections.
# TYPE postern_http_response_bytes_total counter
postern_http_response_bytes_total{port="8080"} 4
postern_http_response_bytes_total{port="other"} 0`)
	f.want(t, "postern_http_requests_in_flight", `# HELP postern_http_requests_in_flight Requests and upgraded connections in flight.
# TYPE postern_http_requests_in_flight gauge
postern_http_requests_in_flight 0`)
}

// TestLabelsAreBounded: no input of a client creates a new label value.
func TestLabelsAreBounded(t *testing.T) {
	f := observed(t, LogNone, stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == "BREW" {
			request.From(r).Local = netip.MustParseAddrPort("10.0.0.5:999")
			w.WriteHeader(799)
		}
		return nil
	}))
	f.do("BREW", "/")
	f.do("XYZ", "/")
	f.do("XYZZY", "/")
	f.want(t, "postern_http_requests_total", requestsHeader+`postern_http_requests_total{code="200",method="other",port="8080"} 2
postern_http_requests_total{code="other",method="other",port="other"} 1`)
}

func TestErrorResponses(t *testing.T) {
	decorate := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Decorated", "yes")
			return next.ServeHTTP(w, r)
		})
	}
	tests := map[string]struct {
		last       stage.Func
		stages     []stage.Stage
		wantStatus int
		wantMark   string
		wantCause  string
		wantPanics int
	}{
		"a refusal inside":  {last: refuse, stages: []stage.Stage{decorate, Errors()}, wantStatus: 403, wantMark: "yes", wantCause: "no such role"},
		"a refusal outside": {last: refuse, wantStatus: 403, wantCause: "no such role"},
		"another error":     {last: func(http.ResponseWriter, *http.Request) error { return errors.New("secret\x1b[31m") }, stages: []stage.Stage{decorate, Errors()}, wantStatus: 500, wantMark: "yes", wantCause: "secret\ufffd[31m"},
		"a panic inside":    {last: func(http.ResponseWriter, *http.Request) error { panic("secret") }, stages: []stage.Stage{decorate, Errors()}, wantStatus: 500, wantMark: "yes", wantCause: "serving request: panic: secret", wantPanics: 1},
		"a panic outside":   {last: func(http.ResponseWriter, *http.Request) error { panic(errors.New("secret")) }, wantStatus: 500, wantCause: "serving request: panic: secret", wantPanics: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := observed(t, LogErrors, stage.Chain(tt.last, tt.stages...))
			w := f.do("GET", "/")
			if w.Code != tt.wantStatus || w.Header().Get("X-Decorated") != tt.wantMark || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
			}
			lines := f.logs.lines(t, "request")
			if len(lines) != 1 || lines[0]["cause"] != tt.wantCause || lines[0]["status"] != float64(tt.wantStatus) {
				t.Errorf("lines %v", lines)
			}
			if got := f.logs.lines(t, "panic while serving the request"); len(got) != tt.wantPanics {
				t.Errorf("%d panics logged, want %d", len(got), tt.wantPanics)
			} else if tt.wantPanics > 0 && !strings.Contains(got[0]["stack"].(string), "observe_test.go") {
				t.Errorf("stack %v", got[0]["stack"])
			}
		})
	}
}

func refuse(http.ResponseWriter, *http.Request) error {
	return &httperr.Error{Status: 403, Code: "forbidden", Detail: "No.", Cause: errors.New("no such role")}
}

func TestErrorsWithoutRecord(t *testing.T) {
	err := stage.Chain(stage.Func(refuse), Errors()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if httperr.From(err).Code != "forbidden" {
		t.Errorf("error %v", err)
	}
}

func TestAccessLogModes(t *testing.T) {
	chain := stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		switch r.URL.Path {
		case "/404":
			w.WriteHeader(404)
		case "/shadow":
			_ = request.From(r).Refuse(request.Rule{Stage: "authz", Shadow: true}, &httperr.Error{Status: 403, Code: "forbidden"})
		case "/500":
			return errors.New("defect")
		case "/502":
			return &httperr.Error{Status: 502, Code: "app-unreachable"}
		}
		return nil
	})
	for mode, want := range map[Mode]string{
		LogAll: "/ok /404 /shadow /500 /502", LogErrors: "/404 /shadow /500 /502", LogNone: "/500",
	} {
		f := observed(t, mode, chain)
		for _, path := range []string{"/ok", "/404", "/shadow", "/500", "/502"} {
			f.do("GET", path)
		}
		var got []string
		for _, line := range f.logs.lines(t, "request") {
			got = append(got, line["path"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s logged %v, want %s", mode, got, want)
		}
	}
}

// TestAbort: a response that fails after it has begun is aborted, and never counted as a success.
func TestAbort(t *testing.T) {
	begin := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
	}
	tests := map[string]stage.Func{
		"abort":      func(w http.ResponseWriter, _ *http.Request) error { begin(w); panic(http.ErrAbortHandler) },
		"late error": func(w http.ResponseWriter, _ *http.Request) error { begin(w); return errors.New("too late") },
		"late panic": func(w http.ResponseWriter, _ *http.Request) error { begin(w); panic("defect") },
	}
	for name, last := range tests {
		t.Run(name, func(t *testing.T) {
			f := observed(t, LogErrors, stage.Chain(last, Errors()))
			s := httptest.NewServer(f)
			res, err := http.Get(s.URL)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			s.Close()
			if err == nil {
				t.Error("the client saw a complete response")
			}
			f.want(t, "postern_http_requests_total", requestsHeader+`postern_http_requests_total{code="aborted",method="GET",port="8080"} 1`)
			if lines := f.logs.lines(t, "request"); len(lines) != 1 || lines[0]["aborted"] != true {
				t.Errorf("lines %v", lines)
			}
		})
	}
}

func TestClientGone(t *testing.T) {
	f := observed(t, LogErrors, stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("panic %v, want http.ErrAbortHandler", v)
			}
		}()
		f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	}()
	f.want(t, "postern_http_requests_total", requestsHeader+`postern_http_requests_total{code="499",method="GET",port="8080"} 1`)
}

func TestHijackFlushAndInformational(t *testing.T) {
	f := observed(t, LogAll, stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
			return nil
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		return conn.Close()
	}))
	s := httptest.NewServer(f)
	res, err := http.Get(s.URL + "/hints")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || res.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%d, trailer %v", res.StatusCode, res.Trailer)
	}
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /up HTTP/1.1\r\nHost: x\r\n\r\n")
	_, _ = io.ReadAll(conn)
	_ = conn.Close()
	s.Close() // does not wait for the hijacked connection
	for end := time.Now().Add(20 * time.Second); len(f.logs.lines(t, "request")) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	f.want(t, "postern_http_requests_total", requestsHeader+`postern_http_requests_total{code="101",method="GET",port="8080"} 1
postern_http_requests_total{code="200",method="GET",port="8080"} 1`)
}

func TestLocalAddrDefault(t *testing.T) {
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.5"), Port: 80})
	if got := localAddr(ctx); got != netip.MustParseAddrPort("10.0.0.5:80") {
		t.Errorf("address %v", got)
	}
	if got := localAddr(context.Background()); got.IsValid() {
		t.Errorf("address %v, want none", got)
	}
}

func TestNewRefuses(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("the metrics were registered twice")
	}
	full := Config{Metrics: m, Events: event.NewStream("shop/orders"), Logger: slog.Default()}
	tests := map[string]func(*Config){
		"no metrics": func(c *Config) { c.Metrics = nil },
		"no logger":  func(c *Config) { c.Logger = nil },
		"no events":  func(c *Config) { c.Events = nil },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := full
			change(&cfg)
			if _, err := New(cfg, stage.Func(refuse)); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := New(full, nil); err == nil {
		t.Error("accepted without a chain")
	}
	if _, err := NewLog(LogConfig{Mode: "", Logger: slog.Default(), SampleRatio: 1}); err == nil {
		t.Error("an access log without mode was accepted")
	}
	if _, err := NewLog(LogConfig{Mode: LogAll, Logger: nil, SampleRatio: 1}); err == nil {
		t.Error("an access log without logger was accepted")
	}
}

func BenchmarkObserve(b *testing.B) {
	chain := stage.Chain(stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(200)
		return nil
	}), Errors())
	for _, mode := range []Mode{LogAll, LogErrors} {
		b.Run(string(mode), func(b *testing.B) {
			m, err := NewMetrics(prometheus.NewRegistry())
			if err != nil {
				b.Fatal(err)
			}
			logger := slog.New(slog.NewJSONHandler(io.Discard, nil))
			log, err := NewLog(LogConfig{Mode: mode, Logger: logger, SampleRatio: 1})
			if err != nil {
				b.Fatal(err)
			}
			h, err := New(Config{Metrics: m, Events: event.NewStream("shop/orders", m.Sink([]uint16{8080}), log), Logger: logger}, chain)
			if err != nil {
				b.Fatal(err)
			}
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/orders/7", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
