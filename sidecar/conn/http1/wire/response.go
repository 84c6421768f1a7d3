package wire

import (
	"errors"
	"net/textproto"
	"strings"
)

// Field is one field line. A name is in the canonical form of net/http.
type Field struct{ Name, Value string }

// maxFields bounds the number of field lines of one head or trailer section.
const maxFields = 1000

// Errors of responses. They have nothing of the response in them, because they are logged.
var (
	errStatusLine = errors.New("reading the response: malformed status line (RFC 9112 §4)")
	errVersion    = errors.New("reading the response: not HTTP/1.0 or HTTP/1.1 (RFC 9112 §2.3)")
	errField      = errors.New("reading the response: malformed field line (RFC 9112 §5)")
	errManyFields = errors.New("reading the response: too many fields")
)

// EndOfHead returns the length of the head at the start of b, with its empty line, or -1 if the head is incomplete. from is the result of the
// last call's scanned, 0 at first, so that each byte is looked at once. A line may end with a bare LF, as in net/http: the head is
// serialized again, so that nobody else sees it.
func EndOfHead(b []byte, from int) (end, scanned int) {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		if i+1 < len(b) && b[i+1] == '\n' {
			return i + 2, i
		}
		if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
			return i + 3, i
		}
		if i+2 >= len(b) {
			return -1, i
		}
	}
	return -1, len(b)
}

// ParseResponse parses the head of a response and appends its fields, whose values are parts of head, to fields. It refuses the following,
// which net/http accepts: versions other than HTTP/1.0 and HTTP/1.1, a status below 100 or with a sign, spaces in field names, and more than
// maxFields lines. A folded line is joined with one space, as in net/http (RFC 9112 §5.2); if
// it is empty, nothing is added, where net/http adds the space.
func ParseResponse(head string, fields []Field) (status, minor int, _ []Field, err error) {
	line, rest, _ := strings.Cut(head, "\n")
	line = strings.TrimSuffix(line, "\r")
	version, text, ok := strings.Cut(line, " ")
	if !ok {
		return 0, 0, fields, errStatusLine
	}
	switch version {
	case "HTTP/1.1":
		minor = 1
	case "HTTP/1.0":
	default:
		return 0, 0, fields, errVersion
	}
	text = strings.TrimLeft(text, " ")
	if len(text) < 3 || len(text) > 3 && text[3] != ' ' {
		return 0, 0, fields, errStatusLine
	}
	for i := range 3 {
		if text[i] < '0' || text[i] > '9' {
			return 0, 0, fields, errStatusLine
		}
		status = status*10 + int(text[i]-'0')
	}
	if status < 100 {
		return 0, 0, fields, errStatusLine // net/http's server would panic
	}
	fields, err = ParseFields(rest, fields)
	return status, minor, fields, err
}

// ParseFields parses field lines up to the empty line or the end of text, and appends them to fields.
func ParseFields(text string, fields []Field) ([]Field, error) {
	start := len(fields)
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		line, text = strings.TrimSuffix(line, "\r"), rest
		if line == "" {
			return fields, nil
		}
		if IsSpace(line[0]) {
			if len(fields) == start || !isValue(line) {
				return fields, errField
			}
			last := &fields[len(fields)-1]
			last.Value = trimSpace(last.Value + " " + trimSpace(line))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !IsName(name) || !isValue(value) {
			return fields, errField
		}
		if len(fields)-start >= maxFields {
			return fields, errManyFields
		}
		fields = append(fields, Field{textproto.CanonicalMIMEHeaderKey(name), trimSpace(value)})
	}
	return fields, nil
}

// IsName reports whether s can be the name of a field: a token, RFC 9110 §5.6.2.
func IsName(s string) bool {
	for i := range len(s) {
		if !IsToken(s[i]) {
			return false
		}
	}
	return s != ""
}

func isValue(s string) bool { return ValueLen(s) == len(s) }

func trimSpace(s string) string { return strings.Trim(s, " \t") }
