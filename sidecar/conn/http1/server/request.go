package server

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

// usualFields is how many fields are usual in a request or response: memory with room for many more is not kept. addedFields is the room
// for those that a handler adds to a request.
const (
	usualFields = 24
	addedFields = 4
)

// requestParts are the parts of a request that the connection's next request uses again.
type requestParts struct {
	request http.Request
	url     url.URL
	header  http.Header
	// lines holds the lines of all fields that have one line.
	lines []string
}

// chunkedCoding is the TransferEncoding of requests. Appending to it makes a copy.
var chunkedCoding = []string{"chunked"}

// nextRequest returns the request whose head is in the buffer, as net/http would: its strings are parts of one string. It cannot return
// an error for what the scanner accepts; the fuzz test shows that, and the check costs nothing.
func (c *conn) nextRequest(ctx *requestContext) (*http.Request, error) {
	size := c.scan.size
	head := string(c.buf[c.r : c.r+size])
	c.r += size
	p := &c.slot.request
	if p.header == nil || c.server.config.Poison {
		n := len(c.slot.marks.fields)
		*p = requestParts{header: make(http.Header, n+addedFields), lines: make([]string, 0, n)}
	}
	r := &p.request
	// WithContext is the only way to set a context. The copy that it makes does not escape.
	*r = *(&http.Request{}).WithContext(ctx)
	r.Method, r.Header, r.RemoteAddr, r.TLS = method(head[:c.slot.marks.method]), p.header, c.remote, c.tls
	if r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1; c.scan.minor == '0' {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	r.RequestURI, r.URL = head[c.slot.marks.method+1:c.slot.marks.target], &p.url
	if err := parseTarget(&p.url, r.RequestURI); err != nil {
		return nil, err
	}
	p.setFields(r, head, c.slot.marks.fields)
	if p.url.Host != "" {
		r.Host = p.url.Host // RFC 9112 §3.2.2
	}
	fixPragma(r.Header)
	r.Close = closes(r)
	c.setBody(r)
	return r, nil
}

// setBody sets what frames the body.
func (c *conn) setBody(r *http.Request) {
	switch {
	case c.scan.seen[codingField]:
		r.TransferEncoding, r.ContentLength = chunkedCoding[:1:1], -1
		r.Trailer = announced(r.Header)
	case c.scan.state == inBody:
		r.ContentLength = int64(c.scan.left)
	}
	if r.Body = http.NoBody; c.scan.state != atStart {
		c.body = newBody(c, r)
		r.Body = c.body
	} else if !c.body.none {
		c.body = &body{none: true, eof: true}
	}
}

// setFields sets the header and the host.
func (p *requestParts) setFields(r *http.Request, head string, fields []mark) {
	if cap(p.lines) < len(fields) {
		p.lines = make([]string, 0, len(fields))
	}
	lines := p.lines[:0]
	for _, m := range fields {
		name, value := canonical(head[m.name:m.nameEnd]), trim(head[m.value:m.valueEnd])
		switch name {
		case "Host":
			r.Host = value
			continue
		case "Transfer-Encoding":
			continue
		}
		if before, ok := r.Header[name]; ok {
			r.Header[name] = append(before, value)
			continue
		}
		lines = append(lines, value)
		r.Header[name] = lines[len(lines)-1 : len(lines) : len(lines)]
	}
	p.lines = lines
}

// endRequest makes the request's memory ready for the next one.
func (c *conn) endRequest(w *response) {
	p := &c.slot.request
	if c.server.config.Poison {
		clear(p.header)
		p.request.URL, p.request.Header, p.request.Body = nil, nil, nil
		w.poisoned.Store(true)
		return
	}
	if len(p.header) > 4*usualFields || cap(p.lines) > 4*usualFields {
		*p = requestParts{} // one request with many fields does not take memory for ever
		return
	}
	clear(p.header)
	clear(p.lines)
	p.request, p.url = http.Request{}, url.URL{}
}

// trim removes the optional whitespace around a value.
func trim(s string) string {
	for len(s) > 0 && wire.IsSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && wire.IsSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// method returns the constant of a usual method, so that it does not keep the head in memory.
func method(s string) string {
	switch s {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	}
	return s
}

// canonical returns the canonical form of a field's name, without a copy if it is a usual name or canonical already.
func canonical(name string) string {
	if known, ok := usualNames[name]; ok {
		return known
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// usualNames are the names that clients send often, in the two forms in which they do.
var usualNames = twoForms("Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers",
	"Access-Control-Request-Method", "Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Type",
	"Cookie", "Date", "Dnt", "Expect", "Forwarded", "Host", "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
	"If-Unmodified-Since", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform",
	"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Websocket-Extensions", "Sec-Websocket-Key",
	"Sec-Websocket-Protocol", "Sec-Websocket-Version", "Te", "Traceparent", "Tracestate", "Trailer", "Transfer-Encoding", "Upgrade",
	"Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Api-Key", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Real-Ip", "X-Request-Id", "X-Requested-With")

func twoForms(names ...string) map[string]string {
	forms := make(map[string]string, 2*len(names))
	for _, name := range names {
		forms[name], forms[strings.ToLower(name)] = name, name
	}
	return forms
}

// parseTarget sets u to what url.ParseRequestURI returns.
func parseTarget(u *url.URL, target string) error {
	path, query, asked := strings.Cut(target, "?")
	if !isPlainPath(path) {
		parsed, err := url.ParseRequestURI(target)
		if err == nil {
			*u = *parsed
		}
		return err
	}
	*u = url.URL{Path: path, RawQuery: query, ForceQuery: asked && query == ""}
	return nil
}

// isPlainPath reports whether url.URL needs no RawPath for the path, and escapes nothing of it.
func isPlainPath(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/' || c == '-' || c == '_' || c == '.' || c == '~' || c == '=' || c == '&' || c == '@' || c == ':' || c == '+' || c == '$':
		default:
			return false
		}
	}
	return true
}

// fixPragma adds what the field of HTTP/1.0 says, as net/http does.
func fixPragma(h http.Header) {
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" {
		if _, ok := h["Cache-Control"]; !ok {
			h["Cache-Control"] = []string{"no-cache"}
		}
	}
}

// closes reports whether the client closes the connection after the response, as net/http does.
func closes(r *http.Request) bool {
	connection := r.Header[fieldConnection]
	if hasToken(connection, "close") {
		return true
	}
	return r.ProtoMinor == 0 && !hasToken(connection, "keep-alive")
}

// hasToken reports whether a list field has the token, in lower case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = trim(element); len(element) == len(token) && strings.EqualFold(element, token) {
				return true
			}
		}
	}
	return false
}

// announced takes the names of the Trailer field out of h. What is no name is left out.
func announced(h http.Header) http.Header {
	lines, ok := h["Trailer"]
	if !ok {
		return nil
	}
	delete(h, "Trailer")
	trailer := http.Header{}
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = trim(name); wire.IsName(name) {
				trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
			}
		}
	}
	if len(trailer) == 0 {
		return nil
	}
	return trailer
}

const fieldConnection = "Connection"
