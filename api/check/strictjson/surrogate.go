package strictjson

import (
	"bytes"
	"strconv"
	"unicode/utf16"
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
