package htpasswd

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// prepare returns a name or a password in NFC and with ASCII spaces, so that it is equal however the client composes its letters (RFC 7617
// §2.1: the profiles UsernameCasePreserved and OpaqueString of RFC 8265). Width is kept. What is not UTF-8 stays as it is.
func prepare(text string) string {
	if !utf8.ValidString(text) {
		return text
	}
	return norm.NFC.String(strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Zs, c) {
			return ' '
		}
		return c
	}, text))
}
