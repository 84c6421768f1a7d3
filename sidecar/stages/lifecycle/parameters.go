package lifecycle

import (
	"iter"
	"net/http"
	"strings"
	"unicode"
)

// methodParameters yields the methods that the parameters of a query or a form name. It reads what any framework does: a semicolon separates too, what is
// malformed stays as it is, and PHP takes a dot, a bracket or a blank for the underscore, and ignores blanks before a name.
func methodParameters(raw string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == ';' }) {
			name, value, _ := strings.Cut(part, "=")
			if isMethodParameter(decoded(name)) && !yield(methodOf(decoded(value))) {
				return
			}
		}
	}
}

func isMethodParameter(name string) bool {
	name, _, _ = strings.Cut(strings.TrimLeft(name, " \t\r\n\v\f\x00"), "\x00")
	const first = 1 // the length of the underscore
	if len(name) < len(overrideParameter) || !strings.ContainsRune("_.[", rune(name[0])) {
		return false
	}
	rest := name[first:]
	member, more := rest[:len(overrideParameter)-first], rest[len(overrideParameter)-first:]
	return member == overrideParameter[first:] && (more == "" || more[0] == '[')
}

// methodOf returns a method as frameworks compare it.
func methodOf(value string) string {
	return strings.ToUpper(strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }))
}

// decoded returns text with its escapes decoded. Those that are malformed stay.
func decoded(text string) string {
	if !strings.ContainsAny(text, "%+") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(text) && hexDigit(text[i+1]) >= 0 && hexDigit(text[i+2]) >= 0:
			out = append(out, byte(hexDigit(text[i+1])<<4|hexDigit(text[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// hexDigit returns the value of a digit, or -1.
func hexDigit(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }

// methodFields yields the methods that fields of the header name. Servers of CGI and WSGI take an underscore in a name for a hyphen.
func methodFields(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, lines := range h {
			if name == "" || name[0]|0x20 != 'x' || !isMethodField(name) {
				continue
			}
			for _, line := range lines {
				if !yield(methodOf(line)) {
					return
				}
			}
		}
	}
}

func isMethodField(name string) bool {
	for _, field := range overrideFields {
		if len(name) == len(field) && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), field) {
			return true
		}
	}
	return false
}
