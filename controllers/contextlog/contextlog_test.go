package contextlog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log"
)

// TestFrom checks that a line keeps its level, and has the values that controller-runtime added to the context.
func TestFrom(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		var out bytes.Buffer
		ctx := Into(t.Context(), slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("reconcileID", "id-1"))
		From(ctx).Log(ctx, level, "message", "key", "value")
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"level": level.String(), "msg": "message", "key": "value", "reconcileID": "id-1"} {
			if line[key] != want {
				t.Errorf("%s: %s is %v; want %s", level, key, line[key], want)
			}
		}
	}
}

func TestNoLogger(t *testing.T) {
	From(t.Context()).Error("a context without a logger must not panic")
}
