package quoted

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// StandardLog makes what libraries write to the standard log of Go lines of logger, at the level Warn and without what they quote: net/http writes there what
// comes after a response, such as the rest of an answer of Vault or the app. It is for the process.
func StandardLog(logger *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(lines{logger})
}

// lines is an io.Writer whose every write is a line of a log.
type lines struct{ logger *slog.Logger }

// Write logs a line.
func (l lines) Write(b []byte) (int, error) {
	l.logger.Log(context.Background(), slog.LevelWarn, "message of a library", "text", Hide(strings.TrimSpace(string(b))))
	return len(b), nil
}
