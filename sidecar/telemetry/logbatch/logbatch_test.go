package logbatch

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// output records each write.
type output struct {
	mu     sync.Mutex
	writes []string
	err    error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, string(p))
	return len(p), o.err
}

func (o *output) get() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.writes)
}

// recent returns a Writer that has just written.
func recent(o *output) *Writer {
	w := NewWriter(o)
	w.written = time.Now().Add(time.Hour)
	return w
}

func TestWriter(t *testing.T) {
	long := strings.Repeat("a", Size) + "\n"
	tests := map[string]struct {
		act  func(w *Writer)
		want []string
	}{
		"waits":              {act: func(w *Writer) { _, _ = io.WriteString(w, "a\n") }},
		"is flushed":         {act: func(w *Writer) { _, _ = io.WriteString(w, "a\n"); _, _ = io.WriteString(w, "b\n"); _ = w.Flush() }, want: []string{"a\nb\n"}},
		"nothing is flushed": {act: func(w *Writer) { _ = w.Flush() }},
		"a line alone":       {act: func(w *Writer) { w.written = time.Now().Add(-Interval); _, _ = io.WriteString(w, "a\n") }, want: []string{"a\n"}},
		"many bytes":         {act: func(w *Writer) { _, _ = io.WriteString(w, "a\n"); _, _ = io.WriteString(w, long) }, want: []string{"a\n" + long}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var o output
			w := recent(&o)
			w.timer = time.AfterFunc(time.Hour, func() {}) // no other one flushes
			w.set = true
			tt.act(w)
			if got := o.get(); !slices.Equal(got, tt.want) {
				t.Errorf("written %q; want %q", got, tt.want)
			}
		})
	}
}

// TestLinesDoNotWaitForever: a line is written without another one, again and again.
func TestLinesDoNotWaitForever(t *testing.T) {
	var o output
	w := recent(&o)
	for i := range 3 {
		w.mu.Lock()
		w.written = time.Now().Add(time.Hour)
		w.mu.Unlock()
		_, _ = fmt.Fprintf(w, "%d\n", i)
		for deadline := time.Now().Add(10 * time.Second); len(o.get()) <= i; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("line %d still waits", i)
			}
		}
	}
}

// TestConcurrentLines: no line is lost, torn or repeated, and each goroutine's lines are in order.
func TestConcurrentLines(t *testing.T) {
	var o output
	w := NewWriter(&o)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				_, _ = fmt.Fprintf(w, "%d %d\n", g, i)
			}
		})
	}
	wg.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var next [8]int
	for line := range strings.Lines(strings.Join(o.get(), "")) {
		var g, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &g, &i); err != nil || i != next[g] {
			t.Fatalf("line %q, %v; want %d", line, err, next[g])
		}
		next[g]++
	}
	for g, n := range next {
		if n != 1000 {
			t.Errorf("%d lines of %d", n, g)
		}
	}
}

// TestImportantLines: a warning is written at once with the lines before it, also by derived loggers.
func TestImportantLines(t *testing.T) {
	for name, derive := range map[string]func(*slog.Logger) *slog.Logger{
		"itself": func(l *slog.Logger) *slog.Logger { return l }, "with attributes": func(l *slog.Logger) *slog.Logger { return l.With("a", 1) },
		"in a group": func(l *slog.Logger) *slog.Logger { return l.WithGroup("g") },
	} {
		t.Run(name, func(t *testing.T) {
			var o output
			w := recent(&o)
			log := derive(slog.New(NewHandler(slog.NewTextHandler(w, nil), w)))
			log.Info("first")
			if got := o.get(); len(got) != 0 {
				t.Errorf("written %q", got)
			}
			log.Warn("second")
			if got := o.get(); len(got) != 1 || strings.Index(got[0], "first") > strings.Index(got[0], "second") || !strings.Contains(got[0], "first") {
				t.Errorf("written %q", got)
			}
		})
	}
}

// TestErrors: an error of the output is returned, and later lines are written again.
func TestErrors(t *testing.T) {
	o := output{err: errors.New("full")}
	w := NewWriter(&o)
	if _, err := io.WriteString(w, "a\n"); !errors.Is(err, o.err) {
		t.Errorf("error %v", err)
	}
	o.err = nil
	_, _ = io.WriteString(w, "b\n")
	if err := w.Flush(); err != nil || !slices.Equal(o.get(), []string{"a\n", "b\n"}) {
		t.Errorf("%v, written %q", err, o.get())
	}
}
