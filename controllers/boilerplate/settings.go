package boilerplate

import (
	"fmt"
	"strings"
)

// Bounds of references, so that a file cannot make values of any size or depth.
const (
	maxDepth = 8
	maxSteps = 10000
)

// Settings are the variables of a file, with the references in their values replaced.
type Settings struct {
	variables []variable
	byKey     map[string]*variable
	// used has the keys that were read.
	used  map[string]bool
	steps int
}

// Read parses a dotenv file, or a properties file of Spring. Its values are never in an error. References (${NAME}, ${NAME:-default},
// and ${NAME:default} as Spring writes it) are to variables of the file only, never to those of the environment.
func Read(data []byte) (*Settings, error) {
	variables, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	s := &Settings{variables: variables, byKey: map[string]*variable{}, used: map[string]bool{}}
	for i := range variables {
		s.byKey[variables[i].key] = &variables[i]
	}
	return s, nil
}

// A Setting is the value of a variable.
type Setting struct {
	// Name is as the file has it.
	Name, Value string
	// Unresolved is why the value is not known, or "".
	Unresolved string
}

// first returns the first of the variables that is set and not empty, and marks all of them as read. ok is false if there is none.
func (s *Settings) first(keys ...string) (found Setting, ok bool) {
	for _, key := range keys {
		v := s.byKey[key]
		if v == nil {
			continue
		}
		s.used[key] = true
		if !ok {
			found = s.setting(v)
			ok = found.Value != "" || found.Unresolved != ""
		}
	}
	return found, ok
}

// known reports whether a variable is in the file. It does not mark it as read.
func (s *Settings) known(key string) bool { return s.byKey[key] != nil }

func (s *Settings) setting(v *variable) Setting {
	s.steps = 0
	value, err := s.resolve(v, 0)
	if err != nil {
		return Setting{Name: v.name, Unresolved: err.Error()}
	}
	return Setting{Name: v.name, Value: value}
}

// resolve returns the value of a variable without quotes, escapes and references.
func (s *Settings) resolve(v *variable, depth int) (string, error) {
	if v.quote == '\'' || v.quote == '`' {
		return v.raw, nil
	}
	return s.expand(v.raw, v.quote == '"', depth)
}

// expand replaces the references in text, and its escapes if it was in double quotes. Other uses of $ stay as they are.
func (s *Settings) expand(text string, escapes bool, depth int) (string, error) {
	if s.steps++; depth > maxDepth || s.steps > maxSteps {
		return "", fmt.Errorf("its references are too many, or go in a circle")
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && strings.HasPrefix(text[i+1:], "${"):
			b.WriteString("${")
			i += 2
		case text[i] == '\\' && escapes && i+1 < len(text):
			i++
			b.WriteString(unescape(text[i]))
		case strings.HasPrefix(text[i:], "${"):
			end := closingBrace(text[i:])
			if end < 0 {
				return "", fmt.Errorf("a reference in it is not closed")
			}
			value, err := s.reference(text[i+2:i+end], escapes, depth)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte(text[i])
		}
		if b.Len() > maxValue {
			return "", fmt.Errorf("it has more than %d bytes with its references", maxValue)
		}
	}
	return b.String(), nil
}

// reference returns the value of what stands between ${ and }.
func (s *Settings) reference(inner string, escapes bool, depth int) (string, error) {
	name := inner[:len(inner)-len(strings.TrimLeftFunc(inner, inName))]
	fallback, hasFallback := strings.CutPrefix(inner[len(name):], ":")
	if hasFallback {
		fallback = strings.TrimPrefix(fallback, "-")
	} else if cut := strings.LastIndexByte(name, '-'); cut > 0 && s.byKey[keyOf(name)] == nil && s.byKey[keyOf(name[:cut])] == nil {
		// ${NAME-default}: a hyphen is part of the names of Spring as well.
		name, fallback, hasFallback = name[:strings.IndexByte(name, '-')], inner[strings.IndexByte(inner, '-')+1:], true
	}
	v := s.byKey[keyOf(name)]
	switch {
	case name == "" || !hasFallback && len(name) != len(inner):
		return "", fmt.Errorf("a reference in it is not ${NAME} or ${NAME:-default}")
	case v != nil:
		value, err := s.resolve(v, depth+1)
		if err != nil || value != "" || !hasFallback {
			return value, err
		}
	case !hasFallback:
		return "", fmt.Errorf("it refers to ${%s}, which the file does not set", name)
	}
	return s.expand(fallback, escapes, depth+1)
}

// closingBrace returns the index of the brace that closes the reference at the start of text, or -1.
func closingBrace(text string) int {
	open := 0
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			open++
		case text[i] == '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// unescape returns the character of an escape in double quotes. Other escapes stay as they are.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '"', '\\', '$', '\'':
		return string(c)
	}
	return string([]byte{'\\', c})
}
