package server

import (
	"net/http"
	"strings"
	"time"
)

// paceWindow is how long a client may let the sidecar wait for its body without sending a byte. It is also the time over which the
// rate is averaged: bytes earn time, and never more than this.
const paceWindow = 20 * time.Second

// pace is the time that the sidecar still waits for a body, as the RequestReadTimeout of Apache's mod_reqtimeout. Only waiting
// counts: while the app does not take the bytes, the client loses nothing.
type pace struct {
	// rate is in bytes per second.
	rate         int
	window, left time.Duration
}

// newPace returns the pace of a body that must arrive at rate; nil for a rate of 0, which is no minimum.
func newPace(rate int, window time.Duration) *pace {
	if rate <= 0 {
		return nil
	}
	return &pace{rate: rate, window: window, left: window}
}

// wait returns how long the next read may take, at most most.
func (p *pace) wait(most time.Duration) time.Duration {
	if p == nil {
		return most
	}
	return min(most, max(p.left, 0))
}

// spend records that n bytes arrived after waiting.
func (p *pace) spend(waited time.Duration, n int) {
	if p == nil {
		return
	}
	// A read returns at most some megabytes, so the product does not overflow.
	p.left = min(p.window, p.left-waited+time.Duration(n)*time.Second/time.Duration(p.rate))
}

// isStream reports whether a request may be silent for a long time as long as it is open: a gRPC call, which may be a stream, or a
// page's EventSource, which always asks for this type (HTML Living Standard, server-sent events).
func isStream(r *http.Request) bool {
	return isGRPC(r) || strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream")
}

// isGRPC reports whether the request is a gRPC call, with any codec. gRPC needs HTTP/2. gRPC-Web has no streams of the client.
func isGRPC(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';') && r.ProtoMajor == 2
}
