package main

import (
	"bytes"
	"io"
	"sync"
)

// heldWriter buffers writes until release, so that the first log lines come after the welcome text, which explains them.
type heldWriter struct {
	mu sync.Mutex
	w  io.Writer
	// held is nil after release.
	held *bytes.Buffer
}

func newHeldWriter(w io.Writer) *heldWriter { return &heldWriter{w: w, held: &bytes.Buffer{}} }

// Write buffers p before release, and writes it after release.
func (h *heldWriter) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held != nil {
		return h.held.Write(p)
	}
	return h.w.Write(p)
}

// release calls before, which may write to the underlying writer, and then writes the buffer. Later calls do nothing.
func (h *heldWriter) release(before func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		return
	}
	before()
	_, _ = h.held.WriteTo(h.w) // ignore errors of a closed terminal
	h.held = nil
}
