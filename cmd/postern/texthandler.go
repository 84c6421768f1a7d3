package main

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// Escape sequences of ECMA-48 (SGR).
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
)

// requestMessage is the message of the access log. Its lines omit the policy and the port, because postern run has one of each.
const requestMessage = "request"

// textHandler writes records as readable lines: "15:04:05 INFO  message key=value". slog.TextHandler writes the attributes, and
// quotes control characters, so input of a client cannot move the terminal's cursor.
type textHandler struct {
	*textOutput
	attrs slog.Handler
}

// textOutput is shared by a handler and the handlers that are derived from it.
type textOutput struct {
	logOutput
	mu sync.Mutex
	// pending has the attributes of the current record.
	pending bytes.Buffer
}

func newTextHandler(o logOutput, level slog.Leveler) *textHandler {
	out := &textOutput{logOutput: o}
	attrs := slog.NewTextHandler(&out.pending, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutHead})
	return &textHandler{textOutput: out, attrs: attrs}
}

// withoutHead removes the level and the message, because Handle writes them.
func withoutHead(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	_, level := a.Value.Any().(slog.Level)
	if a.Key == slog.LevelKey && level || a.Key == slog.MessageKey && a.Value.Kind() == slog.KindString && a.Value.String() == "" {
		return slog.Attr{}
	}
	return a
}

// Enabled reports whether records of the level are written.
func (h *textHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

// Handle writes one line.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	attrs := slog.NewRecord(time.Time{}, r.Level, "", 0)
	r.Attrs(func(a slog.Attr) bool {
		if r.Message != requestMessage || a.Key != "policy" && a.Key != "port" {
			attrs.AddAttrs(a)
		}
		return true
	})
	h.pending.Reset()
	if err := h.attrs.Handle(ctx, attrs); err != nil {
		return err
	}
	var line bytes.Buffer
	if !r.Time.IsZero() {
		line.WriteString(h.paint(dim, r.Time.Format(time.TimeOnly)) + " ")
	}
	line.WriteString(h.paint(levelColour(r.Level), padded(r.Level.String())) + " " + printableMessage(r.Message))
	if values := bytes.TrimRight(h.pending.Bytes(), "\n"); len(values) > 0 {
		line.WriteString(" " + h.paint(dim, string(values)))
	}
	line.WriteByte('\n')
	_, err := h.w.Write(line.Bytes())
	return err
}

// WithAttrs returns a handler that writes attrs in each line.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{textOutput: h.textOutput, attrs: h.attrs.WithAttrs(attrs)}
}

// WithGroup returns a handler that prefixes later keys with the group's name.
func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{textOutput: h.textOutput, attrs: h.attrs.WithGroup(name)}
}

func levelColour(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return red
	case level >= slog.LevelWarn:
		return yellow
	case level >= slog.LevelInfo:
		return green
	}
	return dim
}

// padded pads the level, so that all messages are aligned.
func padded(level string) string {
	for len(level) < len("ERROR") {
		level += " "
	}
	return level
}

// printableMessage quotes a message that has unprintable characters.
func printableMessage(message string) string {
	if strings.ContainsFunc(message, unprintable) {
		return strconv.Quote(message)
	}
	return message
}

// escaped returns the line without what would control the terminal.
func escaped(line string) string { return screen.Escape(line) }

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
