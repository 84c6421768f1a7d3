package client

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

// Request is a request to the app. The header is not changed, and is not used after Do has returned.
type Request struct {
	// In has the method, URL, Host and Header that are sent, without the fields of ownField, and the context that ends the call.
	In *http.Request
	// Target is the host:port to connect to.
	Target string
	// Body is nil for no body. Length is that of the body, or negative for chunks. Body is read until it ends: in another goroutine, or in that of
	// Do if Arrived says that reading it does not wait. It must have a length then, and is in memory while Do runs.
	Body    io.Reader
	Length  int64
	Arrived bool
	// Trailer has the names of the trailer that follows a chunked body. The values are set when Body has ended.
	Trailer http.Header
	// Upgrade is the value of Upgrade, or empty. Close asks the app to close the connection.
	Upgrade string
	Close   bool
	// Interim is told of each informational response but 100 and 101.
	Interim Interim
}

// Interim receives informational responses, RFC 9110 §15.2.
type Interim interface {
	// Inform is called in the goroutine of Do. The fields are valid during the call.
	Inform(status int, fields []wire.Field)
}

var (
	errTarget = errors.New("sending the request: the target has a control character or space")
	errHost   = errors.New("sending the request: invalid Host")
	errSend   = errors.New("sending the request: invalid method or field")
)

// ownField reports whether the client writes the field itself or leaves it out: what frames the message or concerns the connection.
// User-Agent is written apart, because only its first value is sent, as net/http does.
func ownField(name string) bool {
	switch name {
	case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Proxy-Connection", "Keep-Alive",
		"Proxy-Authenticate", "Proxy-Authorization", "Te", "Upgrade":
		return true
	}
	return false
}

// appendHead serializes the head of r.
func (r *Request) appendHead(b []byte) ([]byte, error) {
	in := r.In
	b = append(append(b, in.Method...), ' ')
	for i := range len(in.Method) {
		if !wire.IsToken(in.Method[i]) {
			return b, errSend
		}
	}
	start := len(b)
	b = r.appendTarget(b)
	for _, c := range b[start:] {
		if !wire.IsTarget(c) {
			return b, errTarget
		}
	}
	host := in.Host
	if host == "" {
		host = r.Target
	}
	host = withoutZone(host)
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("/\\?#@\"<>^`{|}", c) >= 0 {
			return b, errHost
		}
	}
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), host...), "\r\n"...)
	if agents := in.Header["User-Agent"]; len(agents) > 0 && agents[0] != "" {
		if b = appendField(b, "User-Agent", agents[0]); b == nil {
			return nil, errSend
		}
	}
	b = r.appendFraming(b)
	for name, values := range in.Header {
		if ownField(name) {
			continue
		}
		for _, value := range values {
			if b = appendField(b, name, value); b == nil {
				return nil, errSend
			}
		}
	}
	return append(b, "\r\n"...), nil
}

// appendTarget appends what URL.RequestURI returns.
func (r *Request) appendTarget(b []byte) []byte {
	u := r.In.URL
	if u.Opaque != "" {
		out := *u
		out.Scheme = "http"
		return append(b, out.RequestURI()...)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	b = append(b, path...)
	if u.ForceQuery || u.RawQuery != "" {
		b = append(append(b, '?'), u.RawQuery...)
	}
	return b
}

// appendFraming appends the fields of the message's framing and of the connection.
func (r *Request) appendFraming(b []byte) []byte {
	switch {
	case r.Close:
		b = append(b, "Connection: close\r\n"...)
	case r.Upgrade != "":
		b = append(append(append(b, "Connection: Upgrade\r\nUpgrade: "...), r.Upgrade...), "\r\n"...)
	}
	if hasTrailers(r.In.Header["Te"]) {
		b = append(b, "Te: trailers\r\n"...)
	}
	switch method := r.In.Method; {
	case r.Body != nil && r.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if names := r.trailerNames(); len(names) > 0 {
			b = append(append(append(b, "Trailer: "...), strings.Join(names, ",")...), "\r\n"...)
		}
	case r.Body != nil:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.Length, 10), "\r\n"...)
	case method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 §8.6
	}
	return b
}

func (r *Request) trailerNames() []string {
	names := make([]string, 0, len(r.Trailer))
	for name := range r.Trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// expects reports whether the app is to say 100 before the body is sent.
func (r *Request) expects() bool {
	values := r.In.Header["Expect"]
	return r.Body != nil && len(values) > 0 && strings.EqualFold(values[0], "100-continue")
}

// replayable reports whether a repetition has the effect of one request (RFC 9110 §9.2.2). It has no body.
func (r *Request) replayable() bool {
	if r.Body != nil {
		return false
	}
	switch r.In.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return len(r.In.Header["Idempotency-Key"]) > 0 || len(r.In.Header["X-Idempotency-Key"]) > 0
}

// appendField appends a field line. It returns nil if it could be read as something else than one field.
func appendField(b []byte, name, value string) []byte {
	if name == "" {
		return nil
	}
	for i := range len(name) {
		if !wire.IsToken(name[i]) {
			return nil
		}
	}
	b = append(append(b, name...), ": "...)
	if wire.ValueLen(value) < len(value) {
		return nil
	}
	return append(append(b, strings.Trim(value, " \t")...), "\r\n"...)
}

// hasTrailers looks for TE: trailers, as the stage hopbyhop leaves it.
func hasTrailers(lines []string) bool {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), "trailers") {
				return true
			}
		}
	}
	return false
}

// withoutZone removes the zone of an IPv6 address, which is of no use to another machine (RFC 6874 §1).
func withoutZone(host string) string {
	end := strings.LastIndexByte(host, ']')
	if !strings.HasPrefix(host, "[") || end < 0 {
		return host
	}
	if zone := strings.LastIndexByte(host[:end], '%'); zone >= 0 {
		return host[:zone] + host[end:]
	}
	return host
}
