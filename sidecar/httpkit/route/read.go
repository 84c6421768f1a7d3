package route

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxAmbiguous is the maximum length of a path with several readings because of an option, in bytes, and maxReadings how many it
// may have. Real paths have up to six; the bounds limit the work that one request causes.
const (
	maxAmbiguous = 8 << 10
	maxReadings  = 32
)

// Path is a path that was accepted.
type Path struct {
	Target
	// Decoded is the path after decoding once, and Forward the encoded path for the app, which decodes to Decoded.
	Decoded, Forward string
}

// Read reads the path of a request target as it was sent, percent-encoded and without the query. It decodes escapes of unreserved
// characters in Forward, keeps all others with capital digits (RFC 3986 §6.2.2), and encodes bytes that are not allowed in a path.
// It refuses a path that the options do not allow with one of the errors of this package. A path that is already normal is
// returned as it is, without allocating.
//
// Dot segments and control characters are refused in every reading, whatever the options.
func (r *Reader) Read(escaped string) (Path, error) {
	if escaped == "" || escaped[0] != '/' {
		return Path{}, ErrNotAbsolute
	}
	o := r.optionsOf(escaped)
	if isClean(escaped) {
		return Path{Target: o.target(escaped, nil), Decoded: escaped, Forward: escaped}, nil
	}
	n := normalizer{options: o, chars: make([]char, 0, len(escaped)), forward: make([]byte, 0, len(escaped)+16)}
	if err := n.run(escaped); err != nil {
		return Path{}, err
	}
	readings, err := n.readings()
	if err != nil {
		return Path{}, err
	}
	return Path{Target: o.target(readings[0], readings), Decoded: plain(n.chars), Forward: string(n.forward)}, nil
}

// target returns the Target of a path with these readings; none stands for the path alone.
func (o *Options) target(path string, readings []string) Target {
	t := Target{Path: path, ignoreCase: o.IgnoreCase}
	switch {
	case o.IgnoreCase:
		if len(readings) == 0 {
			readings = []string{path}
		}
		for _, s := range readings {
			if s = fold(s); !slices.Contains(t.readings, s) {
				t.readings = append(t.readings, s)
			}
		}
	case len(readings) > 1:
		t.readings = readings
	}
	return t
}

// char is a decoded byte. depth is how often it was percent-encoded.
type char struct{ c, depth byte }

func plain(chars []char) string {
	var b strings.Builder
	b.Grow(len(chars))
	for _, c := range chars {
		b.WriteByte(c.c)
	}
	return b.String()
}

// normalizer decodes a path once.
type normalizer struct {
	options *Options
	chars   []char
	forward []byte
}

func (n *normalizer) run(escaped string) error {
	for i := 0; i < len(escaped); {
		c, width, err := next(escaped[i:])
		if err != nil {
			return err
		}
		if err := n.add(c, width == 3); err != nil {
			return err
		}
		i += width
	}
	return checkDecoded(plain(n.chars), n.options.DoubleEncoding)
}

// add appends the next decoded byte.
func (n *normalizer) add(c byte, encoded bool) error {
	o := n.options
	switch {
	case c == '#' && !encoded:
		return ErrFragment
	case c == '/' && !encoded:
		return n.slash()
	case c == '/':
		if !o.EncodedSlash {
			return ErrEncodedSlash
		}
	case c == '\\':
		if !o.Backslash {
			return ErrBackslash
		}
		encoded = true // the app receives it encoded
	case c == ';':
		if !o.Semicolon {
			return ErrPathParameter
		}
		if !encoded {
			n.chars, n.forward = append(n.chars, char{c, 0}), append(n.forward, c)
			return nil
		}
	}
	depth := byte(0)
	if encoded {
		depth = 1
	}
	n.chars = append(n.chars, char{c, depth})
	if isUnreserved(c) || (!encoded && isPathChar(c)) {
		n.forward = append(n.forward, c)
		return nil
	}
	const digits = "0123456789ABCDEF"
	n.forward = append(n.forward, '%', digits[c>>4], digits[c&15])
	return nil
}

func (n *normalizer) slash() error {
	if last := len(n.chars) - 1; last >= 0 && n.chars[last] == (char{'/', 0}) {
		switch n.options.EmptySegments {
		case MergeEmpty:
			return nil
		case RejectEmpty:
			return ErrEmptySegment
		}
	}
	n.chars, n.forward = append(n.chars, char{'/', 0}), append(n.forward, '/')
	return nil
}

// checkDecoded refuses what can only be detected in the whole decoded path.
func checkDecoded(path string, doubleEncoding bool) error {
	if !utf8.ValidString(path) {
		return ErrBadUTF8
	}
	for i, r := range path {
		if unicode.IsControl(r) {
			return ErrControl
		}
		if r == '%' && !doubleEncoding && isSecondEscape(path[i:]) {
			return ErrDoubleEncoding
		}
	}
	return nil
}

// decodeAgain decodes chars once more. It returns nil if there is nothing to decode.
func decodeAgain(chars []char, depth byte) []char {
	var out []char
	for i := 0; i < len(chars); i++ {
		if chars[i].c == '%' && i+2 < len(chars) && isHex(chars[i+1].c) && isHex(chars[i+2].c) {
			if out == nil {
				out = append(make([]char, 0, len(chars)), chars[:i]...)
			}
			out = append(out, char{unhex(chars[i+1].c)<<4 | unhex(chars[i+2].c), depth})
			i += 2
			continue
		}
		if out != nil {
			out = append(out, chars[i])
		}
	}
	return out
}
