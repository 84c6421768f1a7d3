package strictjson

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// loneSurrogate reports whether valid JSON has an escaped UTF-16 surrogate without its other half (RFC 7493 §2.1). Decoders
// replace every lone surrogate by the same character, so different texts would become equal.
func loneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return false
		}
		data = data[i:]
		first, ok := escaped(data)
		if !ok { // a different escape, two bytes long
			data = data[2:]
			continue
		}
		data = data[6:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, ok := escaped(data)
		if !ok || utf16.DecodeRune(first, second) == '\uFFFD' {
			return true
		}
		data = data[6:]
	}
}

// escaped decodes an escape of the form \uXXXX at the start of data.
func escaped(data []byte) (rune, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return rune(n), err == nil
}

// unescape decodes the escapes of a string (RFC 8259 §7).
func unescape(plain []byte) (string, error) {
	out := make([]byte, 0, len(plain))
	for len(plain) > 0 {
		i := bytes.IndexByte(plain, '\\')
		if i < 0 {
			out = append(out, plain...)
			break
		}
		out, plain = append(out, plain[:i]...), plain[i:]
		r, width, err := escape(plain)
		if err != nil {
			return "", err
		}
		out, plain = utf8.AppendRune(out, r), plain[width:]
	}
	return string(out), nil
}

// escape decodes the escape at the start of data, or two of them that are the halves of a surrogate pair. It returns the length.
func escape(data []byte) (r rune, width int, err error) {
	if len(data) < 2 {
		return 0, 0, ErrSyntax
	}
	switch c := data[1]; c {
	case '"', '\\', '/':
		return rune(c), 2, nil
	case 'b':
		return '\b', 2, nil
	case 'f':
		return '\f', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	}
	r, ok := escaped(data)
	if !ok {
		return 0, 0, ErrSyntax
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, nil
	}
	low, ok := escaped(data[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == '\uFFFD' {
		return 0, 0, ErrSurrogate
	}
	return r, 12, nil
}
