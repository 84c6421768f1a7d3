package route

import (
	"slices"
	"strings"
)

// reading says how one kind of app reads a path.
type reading struct {
	// slash and backslash are how often an escape is decoded before the path is split into segments: / and \ of that depth
	// or less separate segments. none leaves every backslash in its segment.
	slash, backslash int
	// semicolon is the same for the start of a path parameter, which is removed.
	semicolon int
	// ends is the depth of the separators that end a path parameter, or less. With layered it is the depth of the parameter's own
	// semicolon: parameters are removed before and after an escape is decoded.
	ends int
}

const (
	none    = -1
	layered = -2
)

// readings returns the path in every way that an app may read it: without repetitions, and first as the app is meant to read it.
func (n *normalizer) readings() ([]string, error) {
	c := collector{}
	if err := c.level(n.chars); err != nil {
		return nil, err
	}
	if n.options.DoubleEncoding {
		if twice := decodeAgain(n.chars, 2); twice != nil {
			if err := checkDecoded(plain(twice), false); err != nil {
				return nil, err
			}
			if err := c.level(twice); err != nil {
				return nil, err
			}
		}
	}
	return c.paths, nil
}

// collector collects readings.
type collector struct{ paths []string }

// level adds the readings of a path that is decoded completely.
func (c *collector) level(chars []char) error {
	if len(chars) > maxAmbiguous && !only(chars) {
		return ErrTooLong
	}
	for _, slash := range depths(chars, '/', 0) {
		for _, semicolon := range depths(chars, ';', none) {
			for _, backslash := range depths(chars, '\\', none) {
				for _, ends := range endsOf(chars, semicolon) {
					if err := c.add(chars, reading{slash: slash, semicolon: semicolon, backslash: backslash, ends: ends}); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// endsOf returns the values of reading.ends. There is always one.
func endsOf(chars []char, semicolon int) []int {
	if semicolon == none {
		return []int{none}
	}
	ends := depths(chars, '/', 0)
	for _, depth := range depths(chars, '\\', none) {
		if depth > 0 && !slices.Contains(ends, depth) {
			ends = append(ends, depth)
		}
	}
	if semicolon > 0 && len(ends) > 1 {
		ends = append(ends, layered)
	}
	return ends
}

// only reports whether chars can be split in only one way.
func only(chars []char) bool {
	for _, c := range chars {
		if c.c == ';' || c.c == '\\' || c.c == '/' && c.depth > 0 {
			return false
		}
	}
	return true
}

// depths returns least, and the depths above it in which c occurs, in order.
func depths(chars []char, c byte, least int) []int {
	found := []int{least}
	for _, x := range chars {
		if x.c == c && !slices.Contains(found, int(x.depth)) {
			found = append(found, int(x.depth))
		}
	}
	slices.Sort(found)
	return found
}

// add adds the path in one reading, and without its empty segments.
func (c *collector) add(chars []char, r reading) error {
	path, empty, err := r.path(chars)
	if err != nil {
		return err
	}
	c.keep(path)
	if empty {
		c.keep(merged(path))
	}
	// Apps that never expect a semicolon in a decoded path read up to the first (Struts 2). The server in front of them removes
	// the unencoded ones.
	if r.semicolon <= 0 && slices.ContainsFunc(chars, func(x char) bool { return x.c == ';' && x.depth > 0 }) {
		path, _, _ = strings.Cut(path, ";")
		c.keep(path)
		c.keep(merged(path))
	}
	if len(c.paths) > maxReadings {
		return ErrTooManyReadings
	}
	return nil
}

// keep adds a path. Apps that resolve it as a reference, such as new URL(path, base) in Node, read the first segment after several
// slashes as a host (RFC 3986 §4.2), and the rest as the path.
func (c *collector) keep(path string) {
	c.keepOnce(path)
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		_, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		c.keepOnce("/" + rest)
		c.keepOnce(merged("/" + rest))
	}
}

func (c *collector) keepOnce(path string) {
	if !slices.Contains(c.paths, path) {
		c.paths = append(c.paths, path)
	}
}

// path returns the path in the reading r, and whether it has empty segments before its last one.
func (r reading) path(chars []char) (path string, empty bool, err error) {
	out := make([]byte, 0, len(chars)+8)
	start, parameter, ends := 1, false, 0 // where the segment begins in out, whether a parameter of it is skipped, and what ends that
	for i, x := range chars {
		switch {
		case r.separates(x) && (!parameter || int(x.depth) <= ends):
			if isDots(string(out[min(start, len(out)):])) {
				return "", false, ErrDotSegment
			}
			empty = empty || i > 0 && len(out) == start
			out, parameter = append(out, '/'), false
			start = len(out)
		case parameter:
		case x.c == ';' && int(x.depth) <= r.semicolon:
			if parameter, ends = true, r.ends; ends == layered {
				ends = int(x.depth)
			}
		case x.c == '/':
			out = append(out, "%2F"...)
		default:
			out = append(out, x.c)
		}
	}
	if isDots(string(out[start:])) {
		return "", false, ErrDotSegment
	}
	return string(out), empty, nil
}

func (r reading) separates(x char) bool {
	return x.c == '/' && int(x.depth) <= r.slash || x.c == '\\' && int(x.depth) <= r.backslash
}

// merged returns path without empty segments.
func merged(path string) string {
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] == '/' && i > 0 && path[i-1] == '/' {
			continue
		}
		out = append(out, path[i])
	}
	return string(out)
}
