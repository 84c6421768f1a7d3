// Package strictjson decodes the JSON of tokens and key sets so that no two parsers can read it differently. It refuses
// duplicate members, invalid UTF-8, lone surrogates and trailing data at every level, and limits nesting. Every JSON from outside whose
// texts become identities, passwords or keys is read by it.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Errors of Object. None of them contains input.
var (
	ErrSyntax    = errors.New("decoding JSON: it is not one valid JSON object")
	ErrDuplicate = errors.New("decoding JSON: a member occurs twice in one object")
	ErrSurrogate = errors.New("decoding JSON: a text has half of a surrogate pair")
	ErrDepth     = errors.New("decoding JSON: nested too deeply")
	ErrValues    = errors.New("decoding JSON: too many members and elements")
)

// Limits are the limits of an object.
type Limits struct {
	// Depth is the maximum number of levels of nesting. A flat object has one level.
	Depth int
	// Values is the maximum number of members and elements on all levels together; 0 means no limit.
	Values int
}

// Object decodes data, which must be one JSON object with at most maxDepth levels (a flat object has one level).
// Numbers are json.Number. Duplicate members (RFC 8259 §4 leaves their meaning open; RFC 7515 §4 and RFC 7519 §4 let a
// receiver refuse them) give ErrDuplicate. A lone surrogate gives ErrSurrogate (RFC 7493 §2.1). Member names are case-sensitive.
func Object(data []byte, maxDepth int) (map[string]any, error) {
	return ObjectWithin(data, Limits{Depth: maxDepth})
}

// ObjectWithin is like Object, with more limits.
func ObjectWithin(data []byte, limits Limits) (map[string]any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, ErrSyntax
	}
	if loneSurrogate(data) {
		return nil, ErrSurrogate
	}
	d := decoder{Decoder: json.NewDecoder(bytes.NewReader(data)), left: limits.Values, bounded: limits.Values > 0}
	d.UseNumber()
	v, err := d.value(limits.Depth)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, ErrSyntax
	}
	return object, nil
}

// decoder counts the values that it may still decode.
type decoder struct {
	*json.Decoder
	left    int
	bounded bool
}

// next counts a member or an element.
func (d *decoder) next() error {
	if d.left--; d.bounded && d.left < 0 {
		return ErrValues
	}
	return nil
}

// value decodes the next value, which may have depth more levels.
func (d *decoder) value(depth int) (any, error) {
	token, err := d.Token()
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
		return d.object(depth - 1)
	}
	return d.array(depth - 1)
}

func (d *decoder) object(depth int) (map[string]any, error) {
	members := map[string]any{}
	for d.More() {
		if err := d.next(); err != nil {
			return nil, err
		}
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, ErrSyntax
		}
		if _, ok := members[name]; ok {
			return nil, ErrDuplicate
		}
		if members[name], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	return members, d.closing()
}

func (d *decoder) array(depth int) ([]any, error) {
	elements := []any{}
	for d.More() {
		if err := d.next(); err != nil {
			return nil, err
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	return elements, d.closing()
}

// closing reads the bracket that ends an object or an array.
func (d *decoder) closing() error {
	if _, err := d.Token(); err != nil {
		return ErrSyntax
	}
	return nil
}
