package tracing

import (
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/posterndev/postern/sidecar/span"
)

// AppCall is the call of the app. The zero value records nothing.
type AppCall struct{ span trace.Span }

// StartApp begins the span of the app's call, and returns r with its context. The app gets it as traceparent.
func StartApp(r *http.Request, port uint16) (*http.Request, AppCall) {
	server := trace.SpanFromContext(r.Context())
	if !server.IsRecording() {
		return r, AppCall{}
	}
	ctx, s := server.TracerProvider().Tracer(span.Tracer).Start(r.Context(), method(r.Method), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", method(r.Method)), attribute.String("peer.service", "app"), attribute.Int("server.port", int(port))))
	r = r.WithContext(ctx)
	Inject(r.Header, s.SpanContext())
	return r, AppCall{span: s}
}

// End ends the span. status is that of the app's response, or 0 if there is none, and broken says that the response was cut short.
func (c AppCall) End(status int, broken bool) {
	if c.span == nil {
		return
	}
	kind := ""
	switch {
	case status == 0:
		kind = "no_response"
	case broken:
		kind = "aborted"
	case status >= 400: // of a client's span, the semantic conventions say
		kind = strconv.Itoa(status)
	}
	if status != 0 {
		c.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if kind != "" {
		c.span.SetAttributes(attribute.String("error.type", kind))
		c.span.SetStatus(codes.Error, "")
	}
	c.span.End()
}
