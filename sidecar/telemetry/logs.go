package telemetry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// Severity is the severity of a log record, as in the log data model of OpenTelemetry.
type Severity int32

// The severities.
const (
	Info  Severity = 9
	Warn  Severity = 13
	Error Severity = 17
)

// Record is a log record.
type Record struct {
	Time     time.Time
	Severity Severity
	// Body is a text, such as a JSON object.
	Body []byte
	// Name is the name of the event, such as postern.audit, and TraceID the id of its trace, 32 hexadecimal digits; empty for none.
	Name, TraceID string
}

// LogsConfig configures Logs.
type LogsConfig struct {
	Endpoint Endpoint
	Identity Identity
	// Metrics count the requests. Required.
	Metrics *Metrics
}

// Logs exports log records. It is safe for concurrent use.
type Logs struct {
	client   *client
	metrics  *Metrics
	resource *resourcepb.Resource
	// most bounds one request, in bytes of bodies.
	most int
}

// maxLogRequest bounds the bodies in one request, in bytes. Collectors accept 4 MiB with gRPC.
const maxLogRequest = 1 << 20

// NewLogs opens no connection. The caller calls Close.
func NewLogs(c LogsConfig) (*Logs, error) {
	if c.Metrics == nil || c.Identity.Service == "" {
		return nil, errors.New("exporting logs: Metrics and Identity.Service are required")
	}
	client, err := newClient(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("exporting logs: %w", err)
	}
	return &Logs{client: client, metrics: c.Metrics, resource: resourceOf(c.Identity.attributes()), most: maxLogRequest}, nil
}

func resourceOf(attributes []attribute.KeyValue) *resourcepb.Resource {
	r := &resourcepb.Resource{}
	for _, a := range attributes {
		r.Attributes = append(r.Attributes, &commonpb.KeyValue{Key: string(a.Key), Value: text(a.Value.AsString())})
	}
	return r
}

func text(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

// Close closes idle connections.
func (l *Logs) Close() { l.client.close() }

// Result is what became of the records of an Export, in their order: the first Done ones need not be exported again. The collector has
// not accepted Rejected of them, and does not say which (OTLP forbids to repeat such a request).
type Result struct {
	Done, Rejected int
	// Reason is what the collector says about the rejected ones.
	Reason string
}

// Export sends the records, and returns when the collector has confirmed them: it exports each at least once if the caller repeats what is
// not Done. Until ctx ends, it repeats what the collector was not able to take. An error that is a *RefusedError will not change by itself:
// a credential is wrong, or the endpoint is not one of a collector.
func (l *Logs) Export(ctx context.Context, records []Record) (done Result, err error) {
	for done.Done < len(records) {
		n := l.part(records[done.Done:])
		body, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{l.message(records[done.Done : done.Done+n])}})
		if err != nil {
			return done, fmt.Errorf("encoding log records: %w", err)
		}
		rejected, err := l.client.export(ctx, logs, body)
		l.metrics.observe(logs.name, err)
		if err != nil {
			return done, err
		}
		done.Done += n
		if lost := rejected.of(n); lost > 0 {
			done.Rejected, done.Reason = done.Rejected+lost, rejected.text
		}
	}
	return done, nil
}

// part returns how many records fit in one request, at least 1.
func (l *Logs) part(records []Record) int {
	size := 0
	for i := range records {
		if size += len(records[i].Body); size > l.most && i > 0 {
			return i
		}
	}
	return len(records)
}

// message is a ResourceLogs. A LogsData has the same fields as an ExportLogsServiceRequest.
func (l *Logs) message(records []Record) *logspb.ResourceLogs {
	scope := &logspb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: "postern"}}
	for i := range records {
		r := &records[i]
		m := &logspb.LogRecord{
			TimeUnixNano: uint64(r.Time.UnixNano()), ObservedTimeUnixNano: uint64(r.Time.UnixNano()), SeverityNumber: logspb.SeverityNumber(r.Severity),
			SeverityText: severityText(r.Severity), Body: text(string(r.Body)), EventName: r.Name,
		}
		if id, err := hex.DecodeString(r.TraceID); err == nil && len(id) == 16 {
			m.TraceId = id
		}
		scope.LogRecords = append(scope.LogRecords, m)
	}
	return &logspb.ResourceLogs{Resource: l.resource, ScopeLogs: []*logspb.ScopeLogs{scope}}
}

func severityText(s Severity) string {
	switch {
	case s >= Error:
		return "ERROR"
	case s >= Warn:
		return "WARN"
	}
	return "INFO"
}
