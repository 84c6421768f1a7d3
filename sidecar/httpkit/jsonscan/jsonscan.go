// Package jsonscan finds the number or the text under one path of member names in JSON, while the JSON passes as a stream. It needs
// constant memory, however large the stream is.
//
// A stream is one JSON value, several (JSON lines), or server-sent events with JSON in their data. As a cost, the last number
// counts; as a text, the first string or number. A value counts once it is complete, also if the stream breaks off later.
package jsonscan

import (
	"encoding/json"
	"math"
	"strconv"
)

// Bounds of what is read. A stream beyond them is not read further.
const (
	// MaxCost replaces greater numbers.
	MaxCost   = 1_000_000_000
	maxDepth  = 128
	maxNumber = 32 // bytes
	// MaxText is the maximum length of a text, in bytes of JSON between its quotes. A longer one is not found.
	MaxText = 2048
)

// Scanner reads a stream of JSON values. Use New.
type Scanner struct {
	path  []string
	state state
	// depth is the number of open arrays and objects. Bit n of objects says that the one at depth n is an object.
	depth   int
	objects [maxDepth/64 + 1]uint64
	// matched is the number of names of the path that the open objects are the values of. wanted says that the next
	// value continues the path.
	matched int
	wanted  bool
	// name is the number of characters of the open member's name that are equal to the path's; -1 if it differs.
	name int
	// escape is the position in an escape sequence, and unit the value of its hexadecimal digits.
	escape int
	unit   rune
	number [maxNumber]byte
	length int
	cost   int
	found  bool
	// reading says that the open string is the text, and raw is what is read of it, as JSON writes it.
	reading bool
	raw     []byte
	// text is the first text that was found; hasText says that there was one.
	text    string
	hasText bool
}

type state byte

const (
	value      state = iota // before a value
	first                   // before the first value of an array
	firstName               // before the first name of an object
	nextName                // before a name, after a comma
	inName                  // within a name
	colon                   // after a name
	inText                  // within a string
	inScalar                // within a number or a literal
	afterValue              // after a value
	failed                  // the rest is not read
)

// New returns a scanner for a path of at least one name. Names are ASCII (check.JSONPath).
func New(path []string) *Scanner { return &Scanner{path: path} }

// Cost returns the last number that was found, rounded up, from 0 to MaxCost.
func (s *Scanner) Cost() (cost int, found bool) { return s.cost, s.found }

// Text returns the first string or number that was found.
func (s *Scanner) Text() (text string, found bool) { return s.text, s.hasText }

// Write reads the next bytes. Bytes after what is not JSON are ignored.
func (s *Scanner) Write(p []byte) {
	for _, c := range p {
		if s.state == failed {
			return
		}
		s.read(c)
	}
}

// restart begins a new value, also after what is not JSON.
func (s *Scanner) restart() {
	s.state, s.depth, s.matched, s.wanted, s.length, s.escape = value, 0, 0, false, 0, 0
	s.reading = false
}

func (s *Scanner) read(c byte) {
	switch s.state {
	case inName, inText:
		s.character(c)
		return
	case inScalar:
		if scalar(c) {
			s.scalar(c)
			return
		}
		s.endScalar()
	}
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return
	}
	switch s.state {
	case value:
		s.begin(c)
	case first:
		if c == ']' {
			s.leave()
			return
		}
		s.begin(c)
	case firstName, nextName:
		s.beginName(c)
	case colon:
		if s.state = value; c != ':' {
			s.state = failed
		}
	case afterValue:
		s.after(c)
	}
}

// begin reads the first byte of a value.
func (s *Scanner) begin(c byte) {
	switch {
	case c == '{':
		s.enter(true)
	case c == '[':
		s.enter(false)
	case c == '"':
		s.reading, s.raw = s.wanted && s.matched+1 == len(s.path) && !s.hasText, s.raw[:0]
		s.state, s.wanted, s.name = inText, false, -1
	case scalar(c):
		s.state, s.length = inScalar, 0
		s.scalar(c)
	default:
		s.state = failed
	}
}

func (s *Scanner) enter(object bool) {
	if s.depth == maxDepth {
		s.state = failed
		return
	}
	s.depth++
	word, bit := s.depth/64, uint64(1)<<(s.depth%64)
	s.objects[word] &^= bit
	s.state = first
	if object {
		s.objects[word] |= bit
		s.state = firstName
	}
	if s.wanted && object && s.matched+1 < len(s.path) {
		s.matched++
	}
	s.wanted = false
}

// leave ends an array or object.
func (s *Scanner) leave() {
	s.depth--
	s.matched = min(s.matched, s.depth-1) // the value of a matched name may have ended; at depth 0, restart sets it
	s.endValue()
}

func (s *Scanner) endValue() {
	s.state, s.wanted = afterValue, false
	if s.depth == 0 {
		s.restart() // the next line's
	}
}

func (s *Scanner) object() bool { return s.objects[s.depth/64]&(1<<(s.depth%64)) != 0 }

// after reads the byte after a value in an array or an object.
func (s *Scanner) after(c byte) {
	switch {
	case c == ',' && s.object():
		s.state = nextName
	case c == ',':
		s.state = value
	case c == '}' && s.object(), c == ']' && !s.object():
		s.leave()
	default:
		s.state = failed
	}
}

func (s *Scanner) beginName(c byte) {
	switch {
	case c == '"':
		s.state, s.name = inName, -1
		if s.depth == s.matched+1 {
			s.name = 0
		}
	case c == '}' && s.state == firstName:
		s.leave()
	default:
		s.state = failed
	}
}

// character reads a byte of a string.
func (s *Scanner) character(c byte) {
	if s.reading && (c != '"' || s.escape > 0) {
		s.keep(c)
	}
	switch {
	case s.escape > 0:
		s.escaped(c)
	case c == '\\':
		s.escape = 1
	case c == '"' && s.state == inText:
		s.endText()
		s.endValue()
	case c == '"':
		s.wanted = s.name >= 0 && s.name == len(s.path[s.matched])
		s.state = colon
	case c < ' ':
		s.state = failed
	default:
		s.match(rune(c))
	}
}

// keep adds a byte to the text.
func (s *Scanner) keep(c byte) {
	if s.reading = len(s.raw) < MaxText; s.reading {
		s.raw = append(s.raw, c)
	}
}

func (s *Scanner) endText() {
	if s.reading {
		s.hasText = json.Unmarshal(append(append([]byte{'"'}, s.raw...), '"'), &s.text) == nil
		s.reading, s.raw = false, nil
	}
}

// escaped reads a byte of an escape sequence.
func (s *Scanner) escaped(c byte) {
	if s.escape == 1 {
		switch c {
		case 'u':
			s.escape, s.unit = 2, 0
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			s.escape, s.name = 0, -1 // no name of a path has such a character
		default:
			s.state = failed
		}
		return
	}
	digit, err := strconv.ParseUint(string(c), 16, 8)
	if err != nil {
		s.state = failed
		return
	}
	s.unit = s.unit<<4 | rune(digit)
	if s.escape++; s.escape == 6 {
		s.escape = 0
		s.match(s.unit)
	}
}

// match compares a character of a name with the path.
func (s *Scanner) match(c rune) {
	if s.name < 0 {
		return
	}
	if name := s.path[s.matched]; s.name < len(name) && rune(name[s.name]) == c {
		s.name++
		return
	}
	s.name = -1
}

// scalar reports whether c may be in a number, true, false or null.
func scalar(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

func (s *Scanner) scalar(c byte) {
	if s.length == maxNumber {
		s.wanted = false // too long to be a cost
		return
	}
	s.number[s.length] = c
	s.length++
}

func (s *Scanner) endScalar() {
	if s.wanted && s.matched+1 == len(s.path) {
		if cost, ok := Number(s.number[:s.length]); ok {
			s.cost, s.found = cost, true
		}
		if c := s.number[0]; !s.hasText && (c == '-' || '0' <= c && c <= '9') && json.Valid(s.number[:s.length]) {
			s.text, s.hasText = string(s.number[:s.length]), true
		}
	}
	s.endValue()
}

// Number reads a cost as JSON writes a number: rounded up, from 0 to MaxCost.
func Number(text []byte) (int, bool) {
	if len(text) == 0 || len(text) > maxNumber || !json.Valid(text) {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(n, 1) || n < 0 {
		return 0, false
	}
	return int(math.Ceil(min(n, MaxCost))), true
}
