package ratelimit

import "net/http"

// writer sets the rate limit fields when the answer begins, after the app has set its own.
type writer struct {
	http.ResponseWriter
	answer answer
	begun  bool
}

// WriteHeader implements http.ResponseWriter. Informational answers (1xx) but 101 are not the answer yet.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// FlushError implements what http.ResponseController flushes by: a flush may begin the answer.
func (w *writer) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the writer beneath.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) begin() {
	if !w.begun {
		w.begun = true
		w.answer.set(w.Header())
	}
}
