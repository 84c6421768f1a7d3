package field

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TrimSpace takes from both ends what any app takes for space: control characters, space as Unicode has it, and the bytes that
// are space in ISO 8859-1, in which WSGI hands fields over (Python's str.strip).
func TrimSpace(s string) string {
	return TrimLeftSpace(trimRightSpace(s))
}

// TrimLeftSpace does so at the beginning.
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

// isSpace judges a rune, which begins or ends with the byte b; where it is no UTF-8, b alone.
func isSpace(r rune, b byte) bool {
	if r == utf8.RuneError {
		return b == 0x85 || b == 0xa0
	}
	return r <= ' ' || r == 0x7f || unicode.IsSpace(r)
}

// CookieName is the name of a pair of Cookie, without space around it.
func CookieName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return TrimSpace(name)
}
