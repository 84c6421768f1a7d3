// Package wire has the syntax of HTTP/1.x messages (RFC 9110, RFC 9112) that both ends of the sidecar share: the one to its clients and the
// one to the app.
package wire

// IsToken reports whether b is allowed in a method or field name: tchar, RFC 9110 §5.6.2.
func IsToken(b byte) bool {
	const (
		digits = 1<<('9'+1) - 1<<'0'
		marks  = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
		upper  = 1<<('Z'+1-64) - 1<<('A'-64)
		Lower  = 1<<('z'+1-64) - 1<<('a'-64)
		marks2 = 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)
	)
	switch {
	case b < 64:
		return uint64(digits|marks)>>b&1 != 0
	case b < 128:
		return uint64(upper|Lower|marks2)>>(b-64)&1 != 0
	}
	return false
}

// IsValue reports whether b is allowed in a field's value: VCHAR, obs-text, SP or HTAB, RFC 9110 §5.5.
func IsValue(b byte) bool { return b >= ' ' && b != 0x7f || b == '\t' }

// ValueLen returns the length of the beginning of s in which IsValue holds. It looks at eight bytes at a time.
func ValueLen[T string | []byte](s T) (n int) {
	for n < len(s) {
		if n+8 <= len(s) && !mayHaveControl(load(s[n:])) {
			n += 8
			continue
		}
		for end := min(n+8, len(s)); n < end; n++ {
			if !IsValue(s[n]) {
				return n
			}
		}
	}
	return n
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// mayHaveControl reports whether one of the eight bytes of x is below space or DEL. It is never false if there is one.
func mayHaveControl(x uint64) bool {
	return ((x-' '*ones)&^x|((x^0x7f*ones)-ones)&^(x^0x7f*ones))&highs != 0
}

// load returns the first eight bytes of s.
func load[T string | []byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// IsTarget reports whether b is allowed in a request target. The path normalizer checks bytes above ASCII: they do
// not change where the request ends.
func IsTarget(b byte) bool { return b > ' ' && b != 0x7f }

// IsSpace reports whether b is optional whitespace: OWS, RFC 9110 §5.6.3.
func IsSpace(b byte) bool { return b == ' ' || b == '\t' }

// Lower returns b in Lower case if it is an ASCII letter.
func Lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// HexDigit returns b's value as a hexadecimal digit.
func HexDigit(b byte) (value uint64, ok bool) {
	switch c := Lower(b); {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	}
	return 0, false
}
