package field

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TrimSpace removes from both ends everything that any app treats as whitespace: control characters, Unicode
// whitespace, and the whitespace bytes of ISO 8859-1, in which WSGI passes fields (Python's str.strip).
func TrimSpace(s string) string {
	return TrimLeftSpace(trimRightSpace(s))
}

// TrimLeftSpace does the same, but only at the start.
func TrimLeftSpace(s string) string {
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if !isSpace(r, s[0]) {
			break
		}
		s = s[size:]
	}
	return s
}

func trimRightSpace(s string) string {
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		if !isSpace(r, s[len(s)-1]) {
			break
		}
		s = s[:len(s)-size]
	}
	return s
}

// isSpace checks a rune that begins or ends with the byte b. If the rune is invalid UTF-8, it checks only b.
func isSpace(r rune, b byte) bool {
	if r == utf8.RuneError {
		return b == 0x85 || b == 0xa0
	}
	return r <= ' ' || r == 0x7f || unicode.IsSpace(r)
}

// CookieName returns the name of a pair of Cookie, without surrounding whitespace.
func CookieName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return TrimSpace(name)
}
