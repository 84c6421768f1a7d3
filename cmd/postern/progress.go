package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows on a terminal how far a long command is. It shows nothing elsewhere.
type progress struct {
	w     io.Writer
	what  string
	n     int64
	start time.Time
	shown time.Time
	// total is about how many there are; 0 if that is not known. done counts in the same unit; if it is nil, n does.
	total int64
	done  func() int64
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, start: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// shows reports whether anything is shown.
func (p *progress) shows() bool { return p.w != nil }

// add counts n more.
func (p *progress) add(n int64) {
	p.n += n
	if p.w == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r%s ", p.line(time.Since(p.start)))
}

// line says how far it is. The total is an estimate, so it never says 100%.
func (p *progress) line(elapsed time.Duration) string {
	line := fmt.Sprintf("%d %s, %.0f/s", p.n, p.what, float64(p.n)/max(elapsed.Seconds(), 0.001))
	if p.total <= 0 {
		return line
	}
	done := p.n
	if p.done != nil {
		done = p.done()
	}
	return fmt.Sprintf("%2d%%, %s", min(99, int64(100*float64(done)/float64(p.total))), line)
}

// end removes the line.
func (p *progress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// reader returns in, of which it counts what is read. The total is the size of a regular file.
func (p *progress) reader(in io.Reader) io.Reader {
	file, ok := in.(*os.File)
	if !ok {
		return in
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		c := &countingReader{Reader: in}
		p.total, p.done = info.Size(), func() int64 { return c.n }
		return c
	}
	return in
}

// countingReader counts the bytes that are read.
type countingReader struct {
	io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}
