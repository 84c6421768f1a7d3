// Package collectortest runs an OpenTelemetry collector for tests: the services of OTLP as gRPC and HTTP servers, which keep all bytes that
// they get.
package collectortest

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	logscollector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Collector keeps what it gets. It is safe for concurrent use.
type Collector struct {
	mu      sync.Mutex
	spans   []*tracepb.ResourceSpans
	logs    []*logspb.ResourceLogs
	headers []map[string][]string
	raw     []byte
	// reject is how many spans or records of each request are rejected, and fail the next error of gRPC, or status of HTTP.
	reject int64
	fail   []error
	hold   chan struct{}

	stop func()
	addr string
	tls  *tls.Config
	http bool
}

// Start runs a collector on a free port of 127.0.0.1 until the test ends. secure is nil for plain TCP.
func Start(t testing.TB, http bool, secure *tls.Config) *Collector {
	t.Helper()
	return StartOn(t, "127.0.0.1", http, secure)
}

// StartOn is Start on an address of this machine.
func StartOn(t testing.TB, host string, http bool, secure *tls.Config) *Collector {
	t.Helper()
	c := &Collector{tls: secure, http: http, addr: net.JoinHostPort(host, "0")}
	c.Restart(t)
	t.Cleanup(func() { c.Stop() })
	return c
}

// Addr returns host:port.
func (c *Collector) Addr() string { return c.addr }

// Stop closes the port and all connections.
func (c *Collector) Stop() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// Restart opens the same port again.
func (c *Collector) Restart(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	if c.http {
		server := &http.Server{Handler: http.HandlerFunc(c.serveHTTP), TLSConfig: c.tls}
		go func() {
			if c.tls != nil {
				_ = server.ServeTLS(l, "", "")
				return
			}
			_ = server.Serve(l)
		}()
		c.stop = func() { _ = server.Close() }
		return
	}
	var options []grpc.ServerOption
	if c.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(c.tls)))
	}
	server := grpc.NewServer(options...)
	tracecollector.RegisterTraceServiceServer(server, traceService{c: c})
	logscollector.RegisterLogsServiceServer(server, logsService{c: c})
	go func() { _ = server.Serve(l) }()
	c.stop = server.Stop
}

// Reject makes the collector reject n spans or records of each request.
func (c *Collector) Reject(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reject = n
}

// Fail makes the next requests fail: with an error of gRPC, or, for HTTP, with the number of its code as the status.
func (c *Collector) Fail(errs ...error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = append(c.fail, errs...)
}

// Hold makes requests wait until release is called.
func (c *Collector) Hold() (release func()) {
	hold := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = hold
	return sync.OnceFunc(func() {
		c.mu.Lock()
		c.hold = nil
		c.mu.Unlock()
		close(hold)
	})
}

// take records a request, and returns how many are rejected.
func (c *Collector) take(ctx context.Context, m proto.Message, headers map[string][]string) (int64, error) {
	c.mu.Lock()
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fail) > 0 {
		err := c.fail[0]
		c.fail = c.fail[1:]
		return 0, err
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return 0, err
	}
	c.raw = append(c.raw, raw...)
	c.headers = append(c.headers, headers)
	switch m := m.(type) {
	case *tracecollector.ExportTraceServiceRequest:
		c.spans = append(c.spans, m.ResourceSpans...)
	case *logscollector.ExportLogsServiceRequest:
		c.logs = append(c.logs, m.ResourceLogs...)
	}
	return c.reject, nil
}

// Spans returns all spans so far.
func (c *Collector) Spans() (all []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.spans {
		for _, s := range r.ScopeSpans {
			all = append(all, s.Spans...)
		}
	}
	return all
}

// ResourceSpans returns all spans so far, with their resources.
func (c *Collector) ResourceSpans() []*tracepb.ResourceSpans {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*tracepb.ResourceSpans(nil), c.spans...)
}

// Logs returns all records so far, with their resources.
func (c *Collector) Logs() []*logspb.ResourceLogs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*logspb.ResourceLogs(nil), c.logs...)
}

// Headers returns those of each request.
func (c *Collector) Headers() []map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]map[string][]string(nil), c.headers...)
}

// Raw returns all bytes of all requests.
func (c *Collector) Raw() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.raw...)
}

type traceService struct {
	tracecollector.UnimplementedTraceServiceServer
	c *Collector
}

// Export implements the service.
func (s traceService) Export(ctx context.Context, r *tracecollector.ExportTraceServiceRequest) (*tracecollector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	rejected, err := s.c.take(ctx, r, md)
	if err != nil || rejected == 0 {
		return &tracecollector.ExportTraceServiceResponse{}, err
	}
	return &tracecollector.ExportTraceServiceResponse{PartialSuccess: &tracecollector.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: "too old\n"}}, nil
}

type logsService struct {
	logscollector.UnimplementedLogsServiceServer
	c *Collector
}

// Export implements the service.
func (s logsService) Export(ctx context.Context, r *logscollector.ExportLogsServiceRequest) (*logscollector.ExportLogsServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	rejected, err := s.c.take(ctx, r, md)
	if err != nil || rejected == 0 {
		return &logscollector.ExportLogsServiceResponse{}, err
	}
	return &logscollector.ExportLogsServiceResponse{PartialSuccess: &logscollector.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: "too old\n"}}, nil
}

// serveHTTP is OTLP/HTTP in front of the same services.
func (c *Collector) serveHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "not a body in Protocol Buffers", http.StatusUnsupportedMediaType)
		return
	}
	ctx := metadata.NewIncomingContext(r.Context(), metadata.MD(r.Header.Clone()))
	var response proto.Message
	switch r.URL.Path {
	case "/v1/traces", "/otlp/v1/traces":
		var m tracecollector.ExportTraceServiceRequest
		if err = proto.Unmarshal(body, &m); err == nil {
			response, err = traceService{c: c}.Export(ctx, &m)
		}
	case "/v1/logs", "/otlp/v1/logs":
		var m logscollector.ExportLogsServiceRequest
		if err = proto.Unmarshal(body, &m); err == nil {
			response, err = logsService{c: c}.Export(ctx, &m)
		}
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		code := int(status.Code(err))
		if code < 100 {
			code = http.StatusBadRequest
		}
		http.Error(w, "refused", code)
		return
	}
	encoded, err := proto.Marshal(response)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(encoded)
}
