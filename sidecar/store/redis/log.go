package redis

import (
	"context"
	"fmt"
	"log/slog"
)

// libraryLog turns the messages of the client library, which otherwise go to stderr as plain text, into debug records.
type libraryLog struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l libraryLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client library", "line", fmt.Sprintf(format, v...))
	}
}
