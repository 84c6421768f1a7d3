package wire

import (
	"errors"
	"strconv"
	"strings"
)

// Lengths of a body that are not known before it is read.
const (
	// Chunked is a body in chunks, RFC 9112 §7.1.
	Chunked int64 = -1
	// UntilClose is a body that the end of the connection ends, RFC 9112 §6.3 item 8.
	UntilClose int64 = -2
)

var (
	errLength  = errors.New("reading the response: invalid Content-Length (RFC 9112 §6.3)")
	errLengths = errors.New("reading the response: several different Content-Length values (RFC 9112 §6.3)")
	errCoding  = errors.New("reading the response: unsupported Transfer-Encoding (RFC 9112 §6.1)")
	errBoth    = errors.New("reading the response: Transfer-Encoding and Content-Length (RFC 9112 §6.3)")
	errCoding0 = errors.New("reading the response: Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)")
)

// ResponseLength returns the length of the body of a response to a request with the given method, Chunked or UntilClose. It refuses what
// net/http accepts: Transfer-Encoding together with Content-Length, and in HTTP/1.0.
func ResponseLength(method string, status, minor int, fields []Field) (int64, error) {
	length, coding := int64(-1), 0
	for _, f := range fields {
		switch f.Name {
		case "Content-Length":
			n, err := parseLength(f.Value)
			if err != nil {
				return 0, err
			}
			if length >= 0 && n != length {
				return 0, errLengths
			}
			length = n
		case "Transfer-Encoding":
			if coding++; coding > 1 || !strings.EqualFold(f.Value, "chunked") {
				return 0, errCoding
			}
		}
	}
	switch {
	case coding > 0 && minor == 0:
		return 0, errCoding0
	case coding > 0 && length >= 0:
		return 0, errBoth
	case method == "HEAD", status < 200, status == 204, status == 304:
		return 0, nil
	case coding > 0:
		return Chunked, nil
	case length >= 0:
		return length, nil
	}
	return UntilClose, nil
}

// parseLength accepts only digits.
func parseLength(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errLength
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errLength
	}
	return n, nil
}
