package check

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPatternLen is the maximum length of a pattern, in bytes.
const maxPatternLen = 1024

// Pattern is a compiled path pattern: a path in which a segment may be * (any one segment) and the last segment may be ** (the
// rest of the path, which may be empty). The zero Pattern matches only the path "/".
type Pattern struct {
	segments []string
	// rest is true if the pattern ends in **.
	rest bool
}

// ParsePattern compiles pattern. It refuses a pattern that no normalised path can match, so that a typing error cannot disable
// a rule.
func ParsePattern(pattern string) (Pattern, error) {
	if reason := checkPattern(pattern); reason != "" {
		return Pattern{}, fmt.Errorf("the path pattern %q is not one that a request can match: %s", short(pattern), reason)
	}
	if pattern == "/" {
		return Pattern{}, nil
	}
	segments := strings.Split(pattern[1:], "/")
	for i, segment := range segments {
		if reason := checkSegment(segment, i == len(segments)-1); reason != "" {
			return Pattern{}, fmt.Errorf("the path pattern %q is not one that a request can match: %s", short(pattern), reason)
		}
	}
	if last := len(segments) - 1; segments[last] == "**" {
		return Pattern{segments: segments[:last], rest: true}, nil
	}
	return Pattern{segments: segments}, nil
}

// short truncates a pattern for a message.
func short(pattern string) string {
	const most = 128
	if len(pattern) > most {
		return pattern[:most] + "…"
	}
	return pattern
}

// checkPattern returns what is wrong with the pattern as a whole, or "".
func checkPattern(pattern string) string {
	switch {
	case pattern == "":
		return "it is empty; write /** for every path"
	case len(pattern) > maxPatternLen:
		return fmt.Sprintf("it is longer than %d bytes; shorten it, with /** at the end for the rest of the path", maxPatternLen)
	case pattern[0] != '/':
		return "it must begin with /; write " + strconv.Quote("/"+pattern)
	case !utf8.ValidString(pattern):
		return "it is not valid UTF-8; save the file as UTF-8"
	case strings.ContainsFunc(pattern, unicode.IsControl):
		return "it contains a control character, and requests with one are refused before rules are matched; remove it"
	case strings.Contains(pattern, "//"):
		return "it contains an empty segment, and rules match requests with // as if it were /; write " + strconv.Quote(collapsed(pattern))
	case len(pattern) > 1 && pattern[len(pattern)-1] == '/':
		return fmt.Sprintf("it ends in /; write %q, which also matches a trailing slash, or %q to match all paths below it as well", pattern[:len(pattern)-1], pattern+"**")
	}
	return ""
}

// collapsed returns the pattern without its empty segments.
func collapsed(pattern string) string {
	segments := strings.FieldsFunc(pattern, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(segments, "/")
}

// checkSegment returns what is wrong with one segment, or "".
func checkSegment(segment string, last bool) string {
	switch {
	case segment == "**" && !last:
		return "** matches the rest of the path and can only be the last segment; write * for any one segment"
	case segment == "*" || segment == "**":
		return ""
	case strings.Contains(segment, "*"):
		return "* matches one whole segment and cannot be part of one; write /* for any one segment, or /** for the rest of the path"
	case segment == "." || segment == "..":
		return "requests with . or .. segments are refused before rules are matched; write the path without them"
	case strings.ContainsAny(segment, "?#"):
		return "a pattern is a path without query or fragment; write " + strconv.Quote("…/"+segment[:strings.IndexAny(segment, "?#")])
	case strings.ContainsAny(segment, `;\`):
		return `requests with ; or \ in the path are refused, or spec.paths passes them and rules match them without it; write the path without it`
	case hasEscape(segment):
		return "it is percent-encoded, and requests are decoded before rules are matched; write it decoded: " + decoded(segment)
	}
	return ""
}

// decoded returns the segment without its escapes, quoted.
func decoded(segment string) string {
	plain, err := url.PathUnescape(segment)
	if err != nil || hasEscape(plain) {
		return "a literal % is written as % alone"
	}
	return strconv.Quote(plain)
}

// hasEscape reports whether s contains a percent-encoded byte.
func hasEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] == '%' && isHex(s[i+1]) && isHex(s[i+2]) {
			return true
		}
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// Fixed reports whether the pattern has no placeholder: it matches one path, with and without a slash at its end.
func (p *Pattern) Fixed() bool { return !p.rest && !slices.Contains(p.segments, "*") }

// Segments returns the segments, of which * stands for any, and whether ** follows them. The caller must not change them.
func (p *Pattern) Segments() (segments []string, rest bool) { return p.segments, p.rest }

// Match reports whether the normalised path matches. One trailing slash is ignored; further empty segments count as segments.
func (p *Pattern) Match(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	left := strings.TrimSuffix(path[1:], "/")
	more := path != "/" // another segment follows, which may be empty
	for _, want := range p.segments {
		if !more {
			return false
		}
		var segment string
		segment, left, more = strings.Cut(left, "/")
		if want != "*" && want != segment {
			return false
		}
	}
	return p.rest || !more
}
