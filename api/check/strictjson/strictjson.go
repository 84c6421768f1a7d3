// Package strictjson decodes the JSON of tokens and key sets so that no two parsers can read it differently: duplicate
// members, invalid UTF-8 and trailing data are refused at every level, and nesting is bounded.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Errors of Object; none of them holds input.
var (
	ErrSyntax    = errors.New("decoding JSON: not one valid JSON object")
	ErrDuplicate = errors.New("decoding JSON: a member occurs twice in one object")
	ErrDepth     = errors.New("decoding JSON: nested too deeply")
)

// Object decodes data, which must be one JSON object nested at most maxDepth levels deep (a flat object is one level).
// Numbers are json.Number. Duplicate members (RFC 8259 §4 leaves their meaning open; RFC 7515 §4 and RFC 7519 §4 let a
// receiver refuse them) give ErrDuplicate. Member names are case-sensitive.
func Object(data []byte, maxDepth int) (map[string]any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, ErrSyntax
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := value(dec, maxDepth)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, ErrSyntax
	}
	return object, nil
}

// value decodes the next value, which may open depth more levels.
func value(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, ErrSyntax
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == 0 {
		return nil, ErrDepth
	}
	if delim == '{' {
		return object(dec, depth-1)
	}
	return array(dec, depth-1)
}

func object(dec *json.Decoder, depth int) (map[string]any, error) {
	members := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, ErrSyntax
		}
		if _, ok := members[name]; ok {
			return nil, ErrDuplicate
		}
		if members[name], err = value(dec, depth); err != nil {
			return nil, err
		}
	}
	return members, closing(dec)
}

func array(dec *json.Decoder, depth int) ([]any, error) {
	elements := []any{}
	for dec.More() {
		v, err := value(dec, depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	return elements, closing(dec)
}

// closing reads the bracket that ends an object or an array.
func closing(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return ErrSyntax
	}
	return nil
}
