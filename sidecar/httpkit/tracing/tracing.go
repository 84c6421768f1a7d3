// Package tracing makes the span of each request, and takes over the trace that a trusted proxy has begun.
//
// The traceparent of any other client begins no trace here: otherwise a client could make every request cost an export, and could put
// spans into the traces of others. Its requests get traces of their own, by the sample ratio.
//
// A span says what the policy decided and how long it took. It has no path, no query, no header, no address and no subject: traces are read
// by more people than access logs are.
package tracing

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Config configures Requests.
type Config struct {
	// Tracer makes spans; nil for none.
	Tracer trace.Tracer
	// Trusted reports whether the peer of a request is a trusted proxy. Required.
	Trusted func(*http.Request) bool
	// Policy is "namespace/name".
	Policy string
}

// Requests traces requests. It is immutable and safe for concurrent use.
type Requests struct{ cfg Config }

// New returns Requests.
func New(c Config) *Requests { return &Requests{cfg: c} }

// Begin records the trace of r in info, and returns the context of its span. Without a Tracer, and without a traceparent of a trusted proxy,
// it does nothing and allocates nothing; the context is then that of r.
func (q *Requests) Begin(r *http.Request, info *request.Info) (context.Context, trace.Span) {
	ctx := r.Context()
	p, ok := parentOf(r.Header)
	ok = ok && q.cfg.Trusted(r)
	if q.cfg.Tracer == nil {
		if ok {
			info.TraceID, info.Sampled = p.trace, p.sampled
		}
		return ctx, nil
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	if ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, p.context(r.Header))
	} else {
		options = append(options, trace.WithNewRoot())
	}
	ctx, s := q.cfg.Tracer.Start(ctx, method(r.Method), options...)
	c := s.SpanContext()
	info.TraceID, info.Sampled = c.TraceID().String(), c.IsSampled()
	Inject(r.Header, c)
	return ctx, s
}

// End ends the span of a request, by what the access log says about it.
func (q *Requests) End(s trace.Span, info *request.Info, served *event.Served) {
	if s == nil {
		return
	}
	defer s.End()
	if !s.IsRecording() {
		return
	}
	name := method(served.Method)
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", name), attribute.Int("http.response.status_code", served.Status),
		attribute.String("network.protocol.version", version(served.Protocol)), attribute.Int("server.port", int(served.Port)),
		attribute.String("postern.policy", q.cfg.Policy), attribute.String("postern.request_id", info.RequestID),
	}
	if route := served.Route(); route != "" {
		name += " " + route
		attributes = append(attributes, attribute.String("http.route", route))
	}
	if info.Scheme != "" {
		attributes = append(attributes, attribute.String("url.scheme", info.Scheme))
	}
	s.SetName(name)
	s.SetAttributes(append(attributes, decisions(served)...)...)
	if kind := failure(served); kind != "" {
		s.SetAttributes(attribute.String("error.type", kind))
		s.SetStatus(codes.Error, "")
	}
}

// failure returns the error.type of a response that the server is responsible for. A refusal is none.
func failure(served *event.Served) string {
	switch {
	case served.ClientGone:
		return "client_closed_request"
	case served.Aborted:
		return "aborted"
	case served.Status >= 500:
		return strconv.Itoa(served.Status)
	}
	return ""
}

// decisions returns what refused the request.
func decisions(served *event.Served) []attribute.KeyValue {
	var list []attribute.KeyValue
	if served.Err != nil {
		list = append(list, attribute.String("postern.code", string(httperr.From(served.Err).Code)))
	}
	for i := len(served.Decisions) - 1; i >= 0; i-- {
		if d := &served.Decisions[i]; !d.Shadow {
			return append(list, attribute.String("postern.stage", d.Stage), attribute.String("postern.rule", d.Rule))
		}
	}
	return list
}

// method returns the methods of RFC 9110 §9 and RFC 5789, and _OTHER for others, as the semantic conventions say.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		http.MethodConnect, http.MethodTrace:
		return name
	}
	return "_OTHER"
}

func version(protocol string) string {
	switch protocol {
	case "HTTP/1.0":
		return "1.0"
	case "HTTP/2.0":
		return "2"
	}
	return "1.1"
}
