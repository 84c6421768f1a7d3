package route

import "errors"

// The reasons why Read refuses a path. A proxy and an app, or two apps, read each of them differently.
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
	// ErrEmptySegment is // where the policy refuses it.
	ErrEmptySegment = errors.New("the path contains an empty segment")
	// ErrTooManyReadings and ErrTooLong bound the work for one path.
	ErrTooManyReadings = errors.New("the path combines too many kinds of ambiguous characters")
	ErrTooLong         = errors.New("the path is too long for one with ambiguous characters")
)

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
