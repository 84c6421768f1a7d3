package server

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

// setFields writes the fields into the buffer. Later changes of the header have no effect, except for trailers.
func (w *response) setFields() {
	if w.buf == nil {
		w.buf = buffers.Get().(*[bufferSize]byte)[:0]
	}
	w.buf = w.buf[:prefixRoom]
	for name, lines := range w.header {
		if len(lines) == 0 {
			w.hasDate = w.hasDate || name == "Date" // the handler wants none
			continue
		}
		switch name {
		case "Content-Length":
			w.setLength(lines[0])
		case "Transfer-Encoding":
			w.coding = lines[0]
		case fieldConnection:
			w.setConnection(lines)
		case "Content-Type":
			if w.status != http.StatusNotModified {
				w.addFields(name, lines)
			}
		case "Date":
			w.hasDate = true
			w.addFields(name, lines)
		case "Trailer":
			w.hasTrailers = true
			w.announce(lines)
			w.addFields(name, lines)
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				w.hasTrailers = true
				continue
			}
			w.addFields(name, lines)
		}
	}
	w.buf = append(w.buf, "\r\n"...)
	w.body = len(w.buf)
}

// addFields writes the lines of a field. Names that are no tokens are left out, as in net/http.
func (w *response) addFields(name string, lines []string) {
	if !wire.IsName(name) {
		return
	}
	for _, value := range lines {
		w.buf = append(append(w.buf, name...), ": "...)
		w.buf = append(appendValue(w.buf, trim(value)), "\r\n"...)
	}
}

// appendValue writes a value in which control characters, line ends above all, are spaces: no value can split a response (RFC 9110 §5.5).
func appendValue(to []byte, value string) []byte {
	for {
		n := wire.ValueLen(value)
		if to = append(to, value[:n]...); n == len(value) {
			return to
		}
		to, value = append(to, ' '), value[n+1:]
	}
}

func (w *response) setLength(value string) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 && value[0] != '+' {
		w.length = n
	}
}

// setConnection looks for what the handler decides about the connection. What it says about other fields is written as it is.
func (w *response) setConnection(lines []string) {
	w.closeAsked = hasToken(lines, "close")
	if len(lines) == 1 && strings.EqualFold(lines[0], "close") {
		return
	}
	if len(lines) == 1 && strings.EqualFold(lines[0], "keep-alive") {
		w.keepAsked = true
		return
	}
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = trim(element); element != "" && !strings.EqualFold(element, "close") {
				w.addFields(fieldConnection, []string{element})
			}
		}
	}
}

// announce stores the names of trailers.
func (w *response) announce(lines []string) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(trim(name)); isTrailer(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

// isTrailer reports whether a field may be in a trailer, RFC 9110 §6.5.1.
func isTrailer(name string) bool {
	switch name {
	case "", "Transfer-Encoding", "Content-Length", "Trailer", "Host", fieldConnection, "Te", "Upgrade", "Authorization", "Set-Cookie",
		"Content-Encoding", "Content-Range", "Content-Type", "Cache-Control", "Expect", "Max-Forwards", "Pragma", "Range", "Www-Authenticate":
		return false
	}
	return !strings.HasPrefix(name, "If-")
}

// appendPrefix decides how the body is framed and whether the connection is kept, as net/http does, and writes the status line and the
// fields that say so.
func (w *response) appendPrefix(to []byte, final bool) []byte {
	r, c := w.request, w.conn
	body, version11 := w.hasBody(), r.ProtoMinor == 1
	if final && w.length < 0 && !w.hasTrailers && w.coding == "" && allowsBody(w.status) && (body || 0 < w.written && w.written <= bufferSize/2) {
		w.length = w.written
	}
	to = append(to, "HTTP/1.0 "...)
	if version11 {
		to[len("HTTP/1.")] = '1'
	}
	to = appendStatus(to, w.status)
	if !w.hasDate {
		to = append(append(append(to, "Date: "...), c.server.sweeper.date()...), "\r\n"...)
	}
	switch {
	case w.length >= 0 && allowsBody(w.status):
		to = append(strconv.AppendInt(append(to, "Content-Length: "...), w.length, 10), "\r\n"...)
	case !body:
	case version11 && w.coding != "identity":
		w.chunked = true
		to = append(to, "Transfer-Encoding: chunked\r\n"...)
	default:
		c.last.Store(true) // the end of the connection is the end of the body
	}
	if w.closeAsked || c.server.closing.Load() || w.status == http.StatusSwitchingProtocols {
		c.last.Store(true)
	}
	switch {
	case w.status == http.StatusSwitchingProtocols:
	case c.last.Load() && (version11 || w.closeAsked):
		to = append(to, "Connection: close\r\n"...)
	case !c.last.Load() && (!version11 || w.keepAsked):
		to = append(to, "Connection: keep-alive\r\n"...)
	}
	return to
}

// appendStatus appends what follows the version in a status line.
func appendStatus(to []byte, status int) []byte {
	to = append(strconv.AppendInt(to, int64(status), 10), ' ')
	text := http.StatusText(status)
	if text == "" {
		to, text = append(to, "status code "...), strconv.Itoa(status)
	}
	return append(append(to, text...), "\r\n"...)
}
