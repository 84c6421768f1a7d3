package server

import (
	"net/http"
	"strings"
)

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
