// Package strictjson decodes the JSON of tokens and key sets so that no two parsers can read it differently. It refuses
// duplicate members, invalid UTF-8, lone surrogates and trailing data at every level, and limits nesting. Every JSON from outside whose
// texts become identities, passwords or keys is read by it.
package strictjson

import (
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

// ObjectWithin is like Object, with more limits. It reads accepted data once. The texts in the result do not keep data in memory.
func ObjectWithin(data []byte, limits Limits) (map[string]any, error) {
	s := scanner{data: data, left: limits.Values, bounded: limits.Values > 0}
	object, err := s.document(limits.Depth)
	if err == nil {
		return object, nil
	}
	// The error names the first of these that applies, wherever it is in data. Only data that is refused is read again.
	switch {
	case !utf8.Valid(data) || !json.Valid(data):
		return nil, ErrSyntax
	case loneSurrogate(data):
		return nil, ErrSurrogate
	}
	return nil, err
}
