// Package telemetry exports spans and log records to an OpenTelemetry collector, over gRPC or HTTP.
//
// Spans are exported in the background: a bounded queue takes them, and what does not fit is dropped and counted. So a collector that is
// away delays nothing and uses no more memory. Log records are exported by Logs.Export, which waits for the collector's response.
//
// It calls the collector by net/http alone. OTLP/gRPC needs only unary calls, so that the sidecar does not link a gRPC library.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Identity is who exports.
type Identity struct {
	// Service is the service.name. Namespace and Pod are those in Kubernetes; empty outside of it.
	Service, Namespace, Pod, Version string
}

// attributes returns the resource of everything that is exported.
func (i Identity) attributes() []attribute.KeyValue {
	list := []attribute.KeyValue{attribute.String("service.name", i.Service)}
	for _, a := range []struct{ key, value string }{
		{"service.namespace", i.Namespace}, {"service.instance.id", i.Pod}, {"service.version", i.Version},
		{"k8s.namespace.name", i.Namespace}, {"k8s.pod.name", i.Pod},
	} {
		if a.value != "" {
			list = append(list, attribute.String(a.key, a.value))
		}
	}
	return list
}

// Config configures Traces.
type Config struct {
	Endpoint Endpoint
	Identity Identity
	// SampleRatio is the share of traces without a parent that are exported, from 0 to 1.
	SampleRatio float64
	// Metrics and Logger are required.
	Metrics *Metrics
	Logger  *slog.Logger
	// Interval is how long a span waits for a batch; 2 s if zero.
	Interval time.Duration
}

// Traces makes spans and exports them. It is safe for concurrent use.
type Traces struct {
	provider *sdktrace.TracerProvider
	client   *client
}

// Bounds of one span. The sidecar's own spans have a tenth of it.
const (
	maxAttributes = 32
	maxValue      = 256
	maxEvents     = 8
)

// NewTraces starts exporting. It opens no connection before there is a span. The caller calls Close.
func NewTraces(c Config) (*Traces, error) {
	if c.Metrics == nil || c.Logger == nil || c.Identity.Service == "" {
		return nil, errors.New("exporting traces: Metrics, Logger and Identity.Service are required")
	}
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) {
		return nil, fmt.Errorf("exporting traces: the sample ratio %v is not between 0 and 1", c.SampleRatio)
	}
	client, err := newClient(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("exporting traces: %w", err)
	}
	uploads := &traceUploads{client: client, metrics: c.Metrics}
	q := newQueue(queueConfig{exporter: otlptrace.NewUnstarted(uploads), metrics: c.Metrics, logger: c.Logger, interval: c.Interval})
	return &Traces{client: client, provider: sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(c.Identity.attributes()...)),
		sdktrace.WithSpanProcessor(q),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeCountLimit: maxAttributes, AttributeValueLengthLimit: maxValue, EventCountLimit: maxEvents, LinkCountLimit: maxEvents,
			AttributePerEventCountLimit: maxEvents, AttributePerLinkCountLimit: maxEvents,
		}),
	)}, nil
}

// Tracer returns what makes the spans of the component name.
func (t *Traces) Tracer(name string) trace.Tracer { return t.provider.Tracer(name) }

// closeTime bounds the export of what is left.
const closeTime = 2 * time.Second

// Close exports what is queued, for two seconds at most, and ends.
func (t *Traces) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what is lost is counted
	t.client.close()
}
