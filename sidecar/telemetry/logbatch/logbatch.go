// Package logbatch writes log lines that follow each other closely in one go: a flood of refused requests causes a flood of lines, and each
// would cost a system call.
//
// A line is written at once if none was written in the last Interval, and if its level is Warn or above. Any other line is written within
// Interval, or as soon as Size bytes wait. So a process that is killed loses at most the lines of its last Interval, and of those neither the first nor
// any up to a warning. Lines keep their order. A process that ends by itself calls Flush.
package logbatch

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Interval is how long a line waits at most, and Size how many bytes wait at most, beside the line that exceeds it.
const (
	Interval = 100 * time.Millisecond
	Size     = 32 << 10
)

// Writer batches what is written to it: each Write is one line, or several. It is safe for concurrent use.
type Writer struct {
	out io.Writer

	mu      sync.Mutex
	waiting []byte
	// written is the time of the last write to out. timer is set while lines wait.
	written time.Time
	timer   *time.Timer
	set     bool
}

// NewWriter returns a Writer to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Write writes lines, or keeps them for a short time. The error is that of the writes to out that it causes.
func (w *Writer) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, lines...)
	if len(w.waiting) < Size && time.Since(w.written) < Interval {
		w.wait()
		return len(lines), nil
	}
	return len(lines), w.flush()
}

// wait makes sure that the lines are written in time.
func (w *Writer) wait() {
	switch {
	case w.set:
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(Interval, func() { _ = w.Flush() })
	default:
		w.timer.Reset(Interval)
	}
	w.set = true
}

// Flush writes all lines that wait.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *Writer) flush() error {
	if w.set {
		w.timer.Stop()
		w.set = false
	}
	if len(w.waiting) == 0 {
		return nil
	}
	_, err := w.out.Write(w.waiting)
	w.written = time.Now()
	if w.waiting = w.waiting[:0]; cap(w.waiting) > 2*Size {
		w.waiting = nil
	}
	return err
}

// handler flushes after important lines.
type handler struct {
	slog.Handler
	lines *Writer
}

// NewHandler returns h, which writes to lines, so that a line of level Warn or above, and those before it, are written at once.
func NewHandler(h slog.Handler, lines *Writer) slog.Handler { return &handler{h, lines} }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, line slog.Record) error {
	err := h.Handler.Handle(ctx, line)
	if line.Level >= slog.LevelWarn {
		if flushing := h.lines.Flush(); err == nil {
			err = flushing
		}
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.lines}
}
