package request

import (
	"context"
	"log/slog"
)

// The names of a request's ids in every log.
const (
	LogRequestID = "request_id"
	LogTraceID   = "trace_id"
)

// Logger returns l with the ids of a request in each line that is logged with the request's context.
func Logger(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(idHandler); ok {
		return l
	}
	return slog.New(idHandler{l.Handler()})
}

type idHandler struct{ slog.Handler }

// Handle adds the ids.
func (h idHandler) Handle(ctx context.Context, line slog.Record) error {
	if info, ok := ctx.Value(key{}).(*Info); ok {
		line = line.Clone()
		if info.RequestID != "" {
			line.AddAttrs(slog.String(LogRequestID, info.RequestID))
		}
		if info.TraceID != "" {
			line.AddAttrs(slog.String(LogTraceID, info.TraceID))
		}
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs keeps the ids in the lines of derived loggers.
func (h idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return idHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the ids in the lines of derived loggers.
func (h idHandler) WithGroup(name string) slog.Handler { return idHandler{h.Handler.WithGroup(name)} }
