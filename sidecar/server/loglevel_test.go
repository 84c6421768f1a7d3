package server

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// lockedBuffer is a log that several goroutines write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since the last call.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// TestLogLevelChangesWithoutRestart: a class with another log level changes what the running process logs, without a signal or a restart,
// in each direction, for the lines of requests too.
func TestLogLevelChangesWithoutRestart(t *testing.T) {
	var out lockedBuffer
	c := newEnforcer(t, hello)
	c.logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: c.level}))
	c.chain.Logger = c.logger
	for i, tt := range []struct {
		level              string
		wantLine, wantInfo bool
	}{{"info", false, true}, {"debug", true, true}, {"error", false, false}, {"info", false, true}} {
		document := makeDocument(func(p *compiled.Policy) {
			p.Sidecar.LogLevel, p.Sidecar.AccessLog, p.Revision = tt.level, "All", int64(i+1)
		})
		if err := c.apply(t.Context(), document, tt.level); err != nil {
			t.Fatal(err)
		}
		out.take()
		status(t, c, "/")
		c.logger.Debug("a line of debug")
		got := out.take()
		if strings.Contains(got, "a line of debug") != tt.wantLine || strings.Contains(got, `"msg":"request"`) != tt.wantInfo {
			t.Errorf("at the level %s: %s", tt.level, got)
		}
	}
}
