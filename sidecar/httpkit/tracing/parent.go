package tracing

import (
	"encoding/hex"
	"net/http"

	"go.opentelemetry.io/otel/trace"
)

// The header fields of W3C Trace Context, in canonical form.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// parent is a traceparent: the texts of its ids are a part of the field.
type parent struct {
	trace, span string
	sampled     bool
}

// parentOf reads the field of W3C Trace Context, §3.2. It does not allocate. Several fields are none.
func parentOf(h http.Header) (p parent, ok bool) {
	values := h[traceparent]
	if len(values) != 1 {
		return p, false
	}
	v := values[0]
	// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01; a later version may have more after it.
	const length = 55
	switch {
	case len(v) < length || len(v) > 4*length, v[2] != '-', v[35] != '-', v[52] != '-':
		return p, false
	case !lowerHex(v[:2]) || v[:2] == "ff", v[:2] == "00" && len(v) != length, len(v) > length && v[length] != '-':
		return p, false
	case !lowerHex(v[3:35]) || zero(v[3:35]), !lowerHex(v[36:52]) || zero(v[36:52]), !lowerHex(v[53:55]):
		return p, false
	}
	return parent{trace: v[3:35], span: v[36:52], sampled: (v[54]-'0')&1 == 1 && v[54] <= '9' || v[54] > '9' && (v[54]-'a')&1 == 1}, true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}

// maxState bounds tracestate, in bytes. W3C Trace Context §3.3.1.5 asks for at least 512.
const maxState = 512

// context returns p as the context of a span of another process. A tracestate that is too long or not valid is left out.
func (p parent) context(h http.Header) trace.SpanContext {
	c := trace.SpanContextConfig{Remote: true}
	_, _ = hex.Decode(c.TraceID[:], []byte(p.trace)) // parentOf has checked both
	_, _ = hex.Decode(c.SpanID[:], []byte(p.span))
	if p.sampled {
		c.TraceFlags = trace.FlagsSampled
	}
	if values := h[tracestate]; len(values) == 1 && len(values[0]) <= maxState {
		if state, err := trace.ParseTraceState(values[0]); err == nil {
			c.TraceState = state
		}
	}
	return trace.NewSpanContext(c)
}

// Inject tells the app, or another receiver of h, about the span.
func Inject(h http.Header, c trace.SpanContext) {
	if !c.IsValid() {
		return
	}
	id, parent := c.TraceID(), c.SpanID()
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], id[:])
	b[35] = '-'
	hex.Encode(b[36:52], parent[:])
	copy(b[52:], "-00")
	if c.IsSampled() {
		b[54] = '1'
	}
	h[traceparent] = []string{string(b[:])}
	delete(h, tracestate)
	if state := c.TraceState().String(); state != "" {
		h[tracestate] = []string{state}
	}
}
