package framing

// isToken reports whether b is allowed in a method or field name: tchar, RFC 9110 §5.6.2.
func isToken(b byte) bool {
	const (
		digits = 1<<('9'+1) - 1<<'0'
		marks  = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
		upper  = 1<<('Z'+1-64) - 1<<('A'-64)
		lower  = 1<<('z'+1-64) - 1<<('a'-64)
		marks2 = 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)
	)
	switch {
	case b < 64:
		return uint64(digits|marks)>>b&1 != 0
	case b < 128:
		return uint64(upper|lower|marks2)>>(b-64)&1 != 0
	}
	return false
}

// isValue reports whether b is allowed in a field's value: VCHAR, obs-text, SP or HTAB, RFC 9110 §5.5.
func isValue(b byte) bool { return b >= ' ' && b != 0x7f || b == '\t' }

// isTarget reports whether b is allowed in a request target. The path normalizer checks bytes above ASCII: they do
// not change where the request ends.
func isTarget(b byte) bool { return b > ' ' && b != 0x7f }

// isSpace reports whether b is optional whitespace: OWS, RFC 9110 §5.6.3.
func isSpace(b byte) bool { return b == ' ' || b == '\t' }

// lower returns b in lower case if it is an ASCII letter.
func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// hexDigit returns b's value as a hexadecimal digit.
func hexDigit(b byte) (value uint64, ok bool) {
	switch c := lower(b); {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	}
	return 0, false
}
