package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// EmptySegments says what happens to empty segments, as in /a//b.
type EmptySegments string

// Values of EmptySegments. The empty value is KeepEmpty.
const (
	// KeepEmpty passes the path on as it was sent. Rules match it with and without its empty segments.
	KeepEmpty EmptySegments = "Keep"
	// MergeEmpty removes empty segments before rules match and before the app receives the path.
	MergeEmpty EmptySegments = "Merge"
	// RejectEmpty refuses paths with an empty segment.
	RejectEmpty EmptySegments = "Reject"
)

// Options says which paths are passed on although apps read them in several ways. The zero value refuses all of them but empty
// segments.
type Options struct {
	// EncodedSlash passes %2F on, Semicolon ; and %3B, Backslash \ and %5C, and DoubleEncoding escapes of escapes, such as %252F.
	EncodedSlash, Semicolon, Backslash, DoubleEncoding bool
	EmptySegments                                      EmptySegments
	// IgnoreCase matches rules without regard to case.
	IgnoreCase bool
}

// Route has options of its own.
type Route struct {
	// Prefix is a path of unencoded segments, for example /api/v4/projects.
	Prefix  string
	Options Options
}

// Reader reads the paths of requests with the options of a policy. It is immutable. The zero Reader has no options.
type Reader struct {
	options Options
	// routes are sorted from the longest prefix to the shortest.
	routes []Route
}

// NewReader returns a Reader. A route's prefix is compared to the path as it was sent, byte by byte. Other spellings of the same
// path get the options of the policy, so a route must not be stricter than these; package check refuses such a route.
func NewReader(options Options, routes []Route) (*Reader, error) {
	r := &Reader{options: options, routes: slices.Clone(routes)}
	for i := range r.routes {
		if err := check.PathOptionsPrefix(r.routes[i].Prefix); err != nil {
			return nil, fmt.Errorf("reading path options: route %d: %w", i, err)
		}
		r.routes[i].Options.IgnoreCase = options.IgnoreCase
	}
	slices.SortStableFunc(r.routes, func(a, b Route) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	return r, nil
}

// optionsOf returns the options for a path as it was sent.
func (r *Reader) optionsOf(escaped string) *Options {
	for i := range r.routes {
		if rest, ok := strings.CutPrefix(escaped, r.routes[i].Prefix); ok && (rest == "" || rest[0] == '/') {
			return &r.routes[i].Options
		}
	}
	return &r.options
}
