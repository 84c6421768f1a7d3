package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows on a terminal how far a long command is. It shows nothing elsewhere.
type progress struct {
	w     io.Writer
	what  string
	n     int
	start time.Time
	shown time.Time
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, start: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// add counts n more.
func (p *progress) add(n int) {
	p.n += n
	if p.w == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r%d %s, %.0f/s ", p.n, p.what, float64(p.n)/max(time.Since(p.start).Seconds(), 0.001))
}

// end removes the line.
func (p *progress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
