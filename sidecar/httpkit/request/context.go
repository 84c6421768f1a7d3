package request

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/trace"
)

// setter is a context that keeps some values of its request in place. It reports whether it has kept the value; a later value of a key
// replaces the earlier one. The context of a reused request is one, so that a value needs no copy of the request. Values are set before other
// goroutines use the context.
type setter interface {
	SetValue(key, value any) bool
}

// Slots is a context with room for the values of a request, around the context of its server.
type Slots struct {
	context.Context
	keys, values [4]any
	used         int
}

// SetValue keeps a value, if there is room.
func (s *Slots) SetValue(key, value any) bool {
	at := s.find(key)
	if at < 0 {
		if s.used == len(s.keys) {
			return false
		}
		at = s.used
		s.used++
	}
	s.keys[at], s.values[at] = key, value
	return true
}

// Value implements context.Context.
func (s *Slots) Value(key any) any {
	if at := s.find(key); at >= 0 {
		return s.values[at]
	}
	return s.Context.Value(key)
}

func (s *Slots) find(key any) int {
	for i := range s.used {
		if s.keys[i] == key {
			return i
		}
	}
	return -1
}

// InPlace reports whether the context of r keeps values in place.
func InPlace(r *http.Request) bool {
	_, ok := r.Context().(setter)
	return ok
}

// Set returns r with a value in its context. It is r itself if the context keeps values in place.
func Set(r *http.Request, key, value any) *http.Request {
	ctx := r.Context()
	if s, ok := ctx.(setter); ok && s.SetValue(key, value) {
		return r
	}
	return r.WithContext(context.WithValue(ctx, key, value))
}

// Detach returns a context for work that outlives the request of ctx. It never ends, and it is all that such work may keep of a
// request: its log lines, events and spans still have the request's ids. The other values of ctx are not in it.
func Detach(ctx context.Context) context.Context {
	detached := context.Background()
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		detached = trace.ContextWithSpanContext(detached, span)
	}
	info, ok := ctx.Value(key{}).(*Info)
	if !ok {
		return detached
	}
	return context.WithValue(detached, key{}, &Info{
		RequestID: info.RequestID, TraceID: info.TraceID, Sampled: info.Sampled, UserAgent: info.UserAgent, ClientAddr: info.ClientAddr,
		Session: info.Session, Actor: info.Actor,
	})
}
