package framing

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// maxKeptHead bounds what is kept of a head that arrives in several reads, in bytes. It is used only if the head is refused.
const maxKeptHead = 1 << 10

// keepHead stores the start of a head that is not complete.
func (c *Conn) keepHead(part []byte) {
	if c.scan.state == atStart || c.scan.state >= inBody || c.scan.trailer {
		c.head = nil
		return
	}
	c.head = append(c.head, part[:min(len(part), maxKeptHead-len(c.head))]...)
}

// respond returns the response to a request whose head is refused, with the fields that Config.Respond adds.
func (c *Conn) respond(b *breach) []byte {
	if c.config.Respond == nil {
		return render(b.refusal)
	}
	w := &refusalWriter{header: http.Header{}}
	if !w.run(c.config.Respond, c.refused(b.head), b.refusal) {
		return render(b.refusal)
	}
	return w.bytes()
}

// requestLine returns the method and the path of a refused head, for the log. The first line of what is no request may be the rest of a
// body with a wrong length, with a password in it: without a method that a request can have, and the space after it, both are empty.
// The path is what is left of the target without its query, user name and host, and is empty if that could be a query too.
func requestLine(line string) (method, path string) {
	method, target, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
	if !ok || !check.IsMethod(method) {
		return "", ""
	}
	target, _, _ = strings.Cut(target, " ")
	if scheme, after, absolute := strings.Cut(target, "://"); absolute && !strings.ContainsAny(scheme, "/?#") {
		_, path, _ = strings.Cut(after, "/")
		target = "/" + path
	}
	end := "?#"
	if !strings.HasPrefix(target, "/") {
		end = "?#=&@"
	}
	if at := strings.IndexAny(target, end); at >= 0 {
		target = target[:at]
	}
	return method, target
}

// refused returns what can be read of a refused head as a request, for the response and the log alone: the method, the path, and the
// fields that choose the form of the response. Each may be empty or malformed.
func (c *Conn) refused(head []byte) *http.Request {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	method, target := requestLine(string(line))
	r := &http.Request{
		Method: method, URL: &url.URL{Path: target}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, RemoteAddr: c.Conn.RemoteAddr().String(),
	}
	for complete := true; complete && len(rest) > 0; {
		line, rest, complete = bytes.Cut(rest, []byte("\n"))
		name, value, ok := strings.Cut(strings.TrimSuffix(string(line), "\r"), ":")
		name = http.CanonicalHeaderKey(name)
		if malformed := bytes.ContainsFunc([]byte(value), func(c rune) bool { return c < ' ' && c != '\t' || c > '~' }); !ok || !complete || malformed {
			continue
		}
		if name == "Origin" || name == "Accept" {
			r.Header.Add(name, strings.Trim(value, " \t"))
		}
	}
	return r.WithContext(ConnContext(context.Background(), c))
}

// refusalWriter collects the response to a refused request.
type refusalWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *refusalWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *refusalWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *refusalWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// run reports whether respond has written a refusal. A panic must not end the process: no server is above this.
func (w *refusalWriter) run(respond func(http.ResponseWriter, *http.Request, *httperr.Error), r *http.Request, refusal *httperr.Error) (ok bool) {
	defer func() { ok = recover() == nil && w.status >= http.StatusBadRequest }()
	respond(w, r, refusal)
	return
}

// bytes returns the response as HTTP/1.1.
func (w *refusalWriter) bytes() []byte {
	w.header.Set("Connection", "close")
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if w.header.Get("Content-Length") == "" {
		w.header.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\n", w.status, http.StatusText(w.status))
	_ = w.header.Write(&out) // a buffer does not fail; it removes line ends from values
	out.WriteString("\r\n")
	out.Write(w.body.Bytes())
	return out.Bytes()
}
