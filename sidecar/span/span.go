// Package span records calls to other services in the trace of a request. It is a leaf, so that every package that does I/O can use it,
// and depends only on OpenTelemetry's API: without a trace that is exported, a call costs a look-up in its context and no allocation.
//
// A span has the name of the service and how the call ended. It has no argument, no key and no text of an error, because these can
// contain secrets.
package span

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Tracer is the name of the instrumentation in each span.
const Tracer = "github.com/posterndev/postern"

// Call is a call in progress. The zero value records nothing.
type Call struct{ span trace.Span }

// Start begins the span of a call to a service, such as "redis", in the trace of ctx. The caller calls End.
func Start(ctx context.Context, service string) (context.Context, Call) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Call{}
	}
	ctx, s := parent.TracerProvider().Tracer(Tracer).Start(ctx, service, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("peer.service", service)))
	return ctx, Call{span: s}
}

// End ends the span. err is only classified.
func (c Call) End(err error) {
	if c.span == nil {
		return
	}
	if err != nil {
		c.span.SetAttributes(attribute.String("error.type", kind(err)))
		c.span.SetStatus(codes.Error, "")
	}
	c.span.End()
}

// kind returns a class of errors. The texts of errors can have secrets.
func kind(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "_OTHER" // of the semantic conventions: no known class
}
