package strictjson

import (
	"encoding/json"
	"unicode/utf8"
)

// scanner decodes JSON (RFC 8259) in one pass.
type scanner struct {
	data []byte
	at   int
	// left is the number of members and elements that it may still decode, if bounded is true.
	left    int
	bounded bool
}

// document decodes data as one object.
func (s *scanner) document(depth int) (map[string]any, error) {
	s.space()
	v, err := s.value(depth)
	if err != nil {
		return nil, err
	}
	s.space()
	object, ok := v.(map[string]any)
	if !ok || s.at != len(s.data) {
		return nil, ErrSyntax
	}
	return object, nil
}

// peek returns the next byte, and 0, which no token begins with, at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// skip skips white space and then c, if that is next.
func (s *scanner) skip(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// next counts a member or an element.
func (s *scanner) next() error {
	if s.left--; s.bounded && s.left < 0 {
		return ErrValues
	}
	return nil
}

// value decodes the next value, which may have depth more levels.
func (s *scanner) value(depth int) (any, error) {
	switch c := s.peek(); c {
	case '"':
		return s.text()
	case '{', '[':
		if depth == 0 {
			return nil, ErrDepth
		}
		s.at++
		if c == '{' {
			return s.object(depth - 1)
		}
		return s.array(depth - 1)
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return nil, s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(word string) error {
	if len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return ErrSyntax
	}
	s.at += len(word)
	return nil
}

func (s *scanner) object(depth int) (map[string]any, error) {
	members := map[string]any{}
	if s.skip('}') {
		return members, nil
	}
	for {
		if err := s.next(); err != nil {
			return nil, err
		}
		s.space()
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		if _, ok := members[name]; ok {
			return nil, ErrDuplicate
		}
		if !s.skip(':') {
			return nil, ErrSyntax
		}
		s.space()
		if members[name], err = s.value(depth); err != nil {
			return nil, err
		}
		switch {
		case s.skip(','):
		case s.skip('}'):
			return members, nil
		default:
			return nil, ErrSyntax
		}
	}
}

func (s *scanner) array(depth int) ([]any, error) {
	elements := []any{}
	if s.skip(']') {
		return elements, nil
	}
	for {
		if err := s.next(); err != nil {
			return nil, err
		}
		s.space()
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
		switch {
		case s.skip(','):
		case s.skip(']'):
			return elements, nil
		default:
			return nil, ErrSyntax
		}
	}
}

// number decodes a number. It keeps the text, so no number loses digits.
func (s *scanner) number() (json.Number, error) {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return "", ErrSyntax
	}
	if s.peek() == '.' {
		if s.at++; !s.digits() {
			return "", ErrSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return "", ErrSyntax
		}
	}
	return json.Number(s.data[start:s.at]), nil
}

// digits skips digits and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > start
}

// name decodes the name of a member. The names that most tokens have take no memory.
func (s *scanner) name() (string, error) {
	plain, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if escaped {
		return unescape(plain)
	}
	switch string(plain) {
	case "alg":
		return "alg", nil
	case "typ":
		return "typ", nil
	case "kid":
		return "kid", nil
	case "iss":
		return "iss", nil
	case "sub":
		return "sub", nil
	case "aud":
		return "aud", nil
	case "exp":
		return "exp", nil
	case "nbf":
		return "nbf", nil
	case "iat":
		return "iat", nil
	case "jti":
		return "jti", nil
	case "sid":
		return "sid", nil
	case "scope":
		return "scope", nil
	}
	return string(plain), nil
}

// text decodes a string.
func (s *scanner) text() (string, error) {
	plain, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if escaped {
		return unescape(plain)
	}
	return string(plain), nil
}

// quoted returns what is between the next two quotes, as it is written, and whether it has escapes. It is valid UTF-8 without
// control characters.
func (s *scanner) quoted() (plain []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, ErrSyntax
	}
	s.at++
	start, ascii := s.at, true
	for ; s.at < len(s.data); s.at++ {
		switch c := s.data[s.at]; {
		case c == '"':
			plain = s.data[start:s.at]
			s.at++
			if !ascii && !utf8.Valid(plain) {
				return nil, false, ErrSyntax
			}
			return plain, escaped, nil
		case c == '\\':
			escaped = true
			s.at++ // the next character does not end the string; unescape checks it
		case c < ' ':
			return nil, false, ErrSyntax
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false, ErrSyntax
}
