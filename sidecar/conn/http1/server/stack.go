package server

import (
	"net/http"
	"runtime"
)

// stackBytes is what the sidecar's stages need of a goroutine's stack.
const stackBytes = 12 << 10

// WithStack grows the goroutine's stack before next runs. net/http starts a goroutine for each HTTP/2 stream, and the stack of a new one would
// be copied at every doubling, each time with more frames to adjust: that was a tenth of what such a request costs.
func WithStack(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack()
		next.ServeHTTP(w, r)
	})
}

// growStack has a frame of stackBytes, and does nothing with it.
//
//go:noinline
func growStack() {
	var frame [stackBytes]byte
	runtime.KeepAlive(&frame)
}
