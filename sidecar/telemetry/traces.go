package telemetry

import (
	"context"
	"fmt"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceUploads is the otlptrace.Client of a collector.
type traceUploads struct {
	client  *client
	metrics *Metrics
}

// Start implements otlptrace.Client.
func (*traceUploads) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (*traceUploads) Stop(context.Context) error { return nil }

// UploadTraces sends spans, and repeats the request as long as ctx and the collector allow it.
func (u *traceUploads) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// A TracesData has the same fields as an ExportTraceServiceRequest.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	rejected, err := u.client.export(ctx, traces, body)
	u.metrics.observe(traces.name, err)
	if err != nil {
		return err
	}
	total := 0
	for _, r := range spans {
		for _, scope := range r.ScopeSpans {
			total += len(scope.Spans)
		}
	}
	lost := rejected.of(total)
	u.metrics.drop(dropRejected, lost)
	u.metrics.exported.Add(float64(total - lost))
	return nil
}
