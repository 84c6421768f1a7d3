package framing

// targetForm checks the form of a request target (RFC 9112 §3.2) as far as net/http would refuse it by itself, with a response of
// its own and without a trace in the log. The guard checks everything else.
type targetForm struct {
	// authority is the host of an absolute target.
	authority authority
	// first is the first byte, and scheme the number of bytes of http:// or https:// that have been read.
	first  byte
	scheme int
	secure bool
	// escape is the number of hexadecimal digits that must follow a percent sign.
	escape int
	// query is true from the first question mark on. The app decides about escapes in the query.
	query bool
}

// add checks the next byte.
func (f *targetForm) add(c byte) violation {
	if f.query {
		return none
	}
	if f.first == 0 {
		if f.first = c; c == '/' || c == '*' {
			return none
		}
	}
	if f.first == '*' {
		return badTarget
	}
	if f.first != '/' && !f.authority.ended && !f.inScheme(c) {
		return badTarget
	}
	switch _, hex := hexDigit(c); {
	case f.escape > 0 && !hex:
		return badEscape
	case f.escape > 0:
		f.escape--
	case c == '%':
		f.escape = 2
	case c == '?':
		f.query = true
	}
	return none
}

// inScheme reports whether c continues the scheme or the authority of an absolute target, or ends the authority.
func (f *targetForm) inScheme(c byte) bool {
	const plain, secure = "http://", "https://"
	want := plain
	if f.secure = f.secure || f.scheme == len("http") && lower(c) == 's'; f.secure {
		want = secure
	}
	if f.scheme == len(want) {
		return f.authority.add(c)
	}
	f.scheme++
	return lower(c) == want[f.scheme-1]
}

// end checks the whole target.
func (f *targetForm) end() violation {
	switch {
	case f.first == '*':
		return none
	case f.escape > 0:
		return badEscape
	case f.first != '/' && (f.scheme < len("http://") || !f.authority.add('/')):
		return badTarget
	}
	return none
}

// isHost reports whether net/http accepts c in a Host field.
func isHost(c byte) bool {
	switch c {
	case '!', '$', '%', '&', '(', ')', '*', '+', ',', '-', '.', ':', ';', '=', '@', '[', '\'', ']', '_', '~':
		return true
	}
	c = lower(c)
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}
