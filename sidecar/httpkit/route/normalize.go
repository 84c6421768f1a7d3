package route

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// The reasons why Normalize refuses a path. A proxy and an app, or two apps, read each of them differently.
var (
	// ErrNotAbsolute is a path that does not begin with /.
	ErrNotAbsolute = errors.New("the path does not begin with /")
	// ErrBadEscape is a % without two hexadecimal digits.
	ErrBadEscape = errors.New("the path contains an invalid percent-encoding")
	// ErrBadUTF8 is a decoded path that is not UTF-8, which includes overlong forms of . and /.
	ErrBadUTF8 = errors.New("the path is not valid UTF-8")
	// ErrEncodedSlash is %2F: some apps decode before they split into segments, and some after.
	ErrEncodedSlash = errors.New("the path contains an encoded slash")
	// ErrBackslash is \ or %5C, which some apps read as a slash.
	ErrBackslash = errors.New("the path contains a backslash")
	// ErrControl is a control character, including NUL, encoded or not.
	ErrControl = errors.New("the path contains a control character")
	// ErrDotSegment is a segment that decodes to . or .. .
	ErrDotSegment = errors.New("the path contains a . or .. segment")
	// ErrDoubleEncoding is an escape of . / \ ; % or NUL that remains after decoding once.
	ErrDoubleEncoding = errors.New("the path is percent-encoded twice")
	// ErrPathParameter is ; or %3B: containers such as Tomcat read /admin;x as /admin, and others did so after decoding
	// (CVE-2020-13933).
	ErrPathParameter = errors.New("the path contains a semicolon")
	// ErrFragment is a raw #. No request target may contain one (RFC 9112 §3.2), and some apps truncate the path there.
	ErrFragment = errors.New("the path contains a fragment")
)

// Normalize normalises the path of a request target as it was sent, percent-encoded and without the query. It returns the
// decoded path that rules match, and the encoded path to forward, which decodes to the same bytes. It removes empty segments,
// decodes escapes of unreserved characters, keeps all others with capital digits (RFC 3986 §6.2.2), and encodes bytes that
// are not allowed in a path. It refuses an ambiguous path with one of the errors above. It returns a path that is already
// normal as it is, without allocating.
func Normalize(escaped string) (decoded, forward string, err error) {
	if escaped == "" || escaped[0] != '/' {
		return "", "", ErrNotAbsolute
	}
	if isClean(escaped) {
		return escaped, escaped, nil
	}
	n := normalizer{
		decoded: make([]byte, 0, len(escaped)),
		forward: make([]byte, 0, len(escaped)+16),
	}
	for i := 0; i < len(escaped); {
		c, width, err := next(escaped[i:])
		if err != nil {
			return "", "", err
		}
		if err := n.add(c, width == 3); err != nil {
			return "", "", err
		}
		i += width
	}
	if err := n.endSegment(); err != nil {
		return "", "", err
	}
	decoded = string(n.decoded)
	if err := checkDecoded(decoded); err != nil {
		return "", "", err
	}
	return decoded, string(n.forward), nil
}

// isClean reports whether path has nothing to decode, encode, remove or refuse.
func isClean(path string) bool {
	start := 1 // of the current segment
	for i := 1; i < len(path); i++ {
		c := path[i]
		if c != '/' {
			if !isPathChar(c) {
				return false
			}
			continue
		}
		if i == start || isDots(path[start:i]) {
			return false
		}
		start = i + 1
	}
	return !isDots(path[start:])
}

// next returns the first byte of s, decoded, and the length of its encoded form.
func next(s string) (c byte, width int, err error) {
	if s[0] != '%' {
		return s[0], 1, nil
	}
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return 0, 0, ErrBadEscape
	}
	return unhex(s[1])<<4 | unhex(s[2]), 3, nil
}

// normalizer builds both forms of a path.
type normalizer struct {
	decoded, forward []byte
	// start is where the current segment begins in decoded.
	start int
}

// add appends the next decoded byte.
func (n *normalizer) add(c byte, encoded bool) error {
	switch {
	case c == '/' && encoded:
		return ErrEncodedSlash
	case c == '\\':
		return ErrBackslash
	case c == ';':
		return ErrPathParameter
	case c == '#' && !encoded:
		return ErrFragment
	case c == '/':
		return n.slash()
	}
	n.decoded = append(n.decoded, c)
	if isUnreserved(c) || (!encoded && isPathChar(c)) {
		n.forward = append(n.forward, c)
		return nil
	}
	const digits = "0123456789ABCDEF"
	n.forward = append(n.forward, '%', digits[c>>4], digits[c&15])
	return nil
}

// slash ends the current segment. It appends no slash if that segment is empty.
func (n *normalizer) slash() error {
	if err := n.endSegment(); err != nil {
		return err
	}
	if len(n.decoded) > 0 && n.start == len(n.decoded) {
		return nil
	}
	n.decoded = append(n.decoded, '/')
	n.forward = append(n.forward, '/')
	n.start = len(n.decoded)
	return nil
}

func (n *normalizer) endSegment() error {
	if isDots(string(n.decoded[n.start:])) {
		return ErrDotSegment
	}
	return nil
}

// checkDecoded refuses what can only be detected in the whole decoded path.
func checkDecoded(path string) error {
	if !utf8.ValidString(path) {
		return ErrBadUTF8
	}
	for i, r := range path {
		if unicode.IsControl(r) {
			return ErrControl
		}
		if r == '%' && isSecondEscape(path[i:]) {
			return ErrDoubleEncoding
		}
	}
	return nil
}

// isSecondEscape reports whether s, which begins with %, begins with an escape of a character that is special in a path.
func isSecondEscape(s string) bool {
	if len(s) < 3 || !isHex(s[1]) || !isHex(s[2]) {
		return false
	}
	switch unhex(s[1])<<4 | unhex(s[2]) {
	case '.', '/', '\\', ';', '%', 0:
		return true
	}
	return false
}
