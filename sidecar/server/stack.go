package server

import (
	"net/http"
	"runtime"
)

// stackBytes is what the stages need of a goroutine's stack.
const stackBytes = 12 << 10

// withStack grows the goroutine's stack at once. net/http starts a goroutine for each HTTP/2 stream, whose stack would otherwise be copied
// at every doubling, each time with more frames to adjust: that was a tenth of what a request costs.
func withStack(next http.Handler) http.Handler {
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
