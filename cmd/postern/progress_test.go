package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProgress: a percentage is shown if the total is known, which is an estimate; and nothing if the output is no terminal.
func TestProgress(t *testing.T) {
	for want, p := range map[string]*progress{
		"50 records, 25/s":      {what: "records", n: 50},
		" 5%, 50 records, 25/s": {what: "records", n: 50, total: 1000},
		"99%, 50 records, 25/s": {what: "records", n: 50, total: 40},
		"75%, 50 records, 25/s": {what: "records", n: 50, total: 4000, done: func() int64 { return 3000 }},
		" 0%, 0 records, 0/s":   {what: "records", total: 1},
	} {
		if got := p.line(2 * time.Second); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	var b bytes.Buffer
	p := newProgress(&b, "records")
	p.add(1)
	p.end()
	if p.shows() || b.Len() > 0 {
		t.Errorf("it shows %q, where there is no terminal", b.String())
	}
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.CopyN(io.Discard, p.reader(file), 250); err != nil || !strings.HasPrefix(p.line(time.Second), "25%, ") {
		t.Errorf("%q, %v", p.line(time.Second), err)
	}
}
