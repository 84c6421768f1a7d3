package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// stream responds with ?bytes= bytes, in chunks, without a Content-Length.
func stream(w http.ResponseWriter, r *http.Request) {
	left, ok := number(w, r, "bytes", 1<<20)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	for left > 0 {
		n, err := w.Write(piece[:min(left, int64(len(piece)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// trailers sends a header after the body.
func trailers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Trailer", "X-Body-Bytes")
	n, _ := fmt.Fprintln(w, "a trailer follows")
	w.Header().Set("X-Body-Bytes", strconv.Itoa(n))
}

// serverSentEvents sends ?events= events, one every ?ms= milliseconds.
func serverSentEvents(stopping <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		events, ok := number(w, r, "events", 10)
		if !ok {
			return
		}
		ms, ok := number(w, r, "ms", 500)
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		for i := range events {
			fmt.Fprintf(w, "id: %d\ndata: {\"event\":%d}\n\n", i, i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
			case <-r.Context().Done():
				return
			case <-stopping:
				return
			}
		}
	}
}

// webSocket echoes every message.
func webSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has responded
	}
	defer conn.CloseNow() //nolint:errcheck // a second close is harmless
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// number reads a query parameter that must be a number of at least 0. Otherwise it responds with 400.
func number(w http.ResponseWriter, r *http.Request, name string, standard int64) (value int64, ok bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, true
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		http.Error(w, name+" must be a number from 0 up", http.StatusBadRequest)
		return 0, false
	}
	return value, true
}
