package main

import (
	"bytes"
	"io"
	"sync"
)

// heldWriter keeps what is written until release: the first lines of a log come after the welcome, which says what they are about.
type heldWriter struct {
	mu sync.Mutex
	w  io.Writer
	// held is nil after release.
	held *bytes.Buffer
}

func newHeldWriter(w io.Writer) *heldWriter { return &heldWriter{w: w, held: &bytes.Buffer{}} }

// Write keeps p, or writes it after release.
func (h *heldWriter) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held != nil {
		return h.held.Write(p)
	}
	return h.w.Write(p)
}

// release calls before, which may write to the writer below, and then writes what was kept. Later calls do nothing.
func (h *heldWriter) release(before func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		return
	}
	before()
	_, _ = h.held.WriteTo(h.w) // a terminal that is closed has no reader
	h.held = nil
}
