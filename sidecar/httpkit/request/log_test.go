package request

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLogger: a line with the context of a request has the request's ids, also in derived loggers, and other lines have none.
func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := Logger(Logger(slog.New(slog.NewJSONHandler(&out, nil))).With("a", 1))
	r := With(httptest.NewRequest("GET", "/", nil), &Info{RequestID: "r1", TraceID: "t1"})
	log.WarnContext(r.Context(), "in a request")
	if got := out.String(); strings.Count(got, `"request_id":"r1"`) != 1 || strings.Count(got, `"trace_id":"t1"`) != 1 {
		t.Error(got)
	}
	out.Reset()
	log.WithGroup("g").With("b", 2).WarnContext(r.Context(), "in a group")
	if got := out.String(); !strings.Contains(got, `"request_id":"r1"`) {
		t.Error(got)
	}
	out.Reset()
	log.WarnContext(t.Context(), "elsewhere")
	if got := out.String(); strings.Contains(got, "_id") {
		t.Error(got)
	}
}
