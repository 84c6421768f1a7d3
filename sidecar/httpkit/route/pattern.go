package route

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPatternLen bounds a pattern, in bytes.
const maxPatternLen = 1024

// Pattern is a compiled path pattern. The zero Pattern matches the path "/" alone.
type Pattern struct {
	segments []string
	// rest is true where the pattern ends in **.
	rest bool
}

// ParsePattern compiles pattern. It refuses what no normalised path could match, so that a rule cannot lie idle for a
// slip of the pen.
func ParsePattern(pattern string) (Pattern, error) {
	if reason := checkPattern(pattern); reason != "" {
		return Pattern{}, fmt.Errorf("parsing path pattern %q: %s", pattern, reason)
	}
	if pattern == "/" {
		return Pattern{}, nil
	}
	segments := strings.Split(pattern[1:], "/")
	for i, segment := range segments {
		if reason := checkSegment(segment, i == len(segments)-1); reason != "" {
			return Pattern{}, fmt.Errorf("parsing path pattern %q: %s", pattern, reason)
		}
	}
	if last := len(segments) - 1; segments[last] == "**" {
		return Pattern{segments: segments[:last], rest: true}, nil
	}
	return Pattern{segments: segments}, nil
}

// checkPattern says what is wrong with the pattern as a whole, or returns "".
func checkPattern(pattern string) string {
	switch {
	case pattern == "":
		return "it is empty; write /** for every path"
	case len(pattern) > maxPatternLen:
		return fmt.Sprintf("it is longer than %d bytes", maxPatternLen)
	case pattern[0] != '/':
		return "it must begin with /"
	case !utf8.ValidString(pattern):
		return "it is not valid UTF-8"
	case strings.ContainsFunc(pattern, unicode.IsControl):
		return "it holds a control character"
	case strings.Contains(pattern, "//"):
		return "it holds an empty segment; requests have // made / before they are matched"
	case len(pattern) > 1 && pattern[len(pattern)-1] == '/':
		return "it ends in /; leave that out, for a trailing slash of the request is ignored"
	}
	return ""
}

// checkSegment says what is wrong with one segment, or returns "".
func checkSegment(segment string, last bool) string {
	switch {
	case segment == "**" && !last:
		return "** stands for the rest of the path and can only be the last segment"
	case segment == "*" || segment == "**":
		return ""
	case strings.Contains(segment, "*"):
		return "* stands for one whole segment and cannot be part of one"
	case segment == "." || segment == "..":
		return "requests with . or .. segments are refused before they are matched"
	case strings.ContainsAny(segment, "?#"):
		return "a pattern is a path alone, without query or fragment"
	case strings.ContainsAny(segment, `;\`):
		return `requests with ; or \ in the path are refused before they are matched`
	case holdsEscape(segment):
		return "write it decoded; requests are percent-decoded before they are matched"
	}
	return ""
}

// holdsEscape reports whether s holds a percent-encoded byte.
func holdsEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && isHex(s[i+1]) && isHex(s[i+2]) {
			return true
		}
	}
	return false
}

// Match reports whether the normalised path matches.
func (p *Pattern) Match(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	left := strings.TrimSuffix(path[1:], "/")
	for _, want := range p.segments {
		if left == "" {
			return false
		}
		var segment string
		segment, left, _ = strings.Cut(left, "/")
		if want != "*" && want != segment {
			return false
		}
	}
	return p.rest || left == ""
}
