package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// byDecoder is ObjectWithin by encoding/json: what the scanner must agree with, errors included.
func byDecoder(data []byte, limits Limits) (map[string]any, error) {
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

// FuzzScanner checks that the scanner accepts and refuses what encoding/json does, with the same values and the same errors.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,{"b":null}],"c":"\ud800"}`, `{"a":1,"a":2}`, ` { "a" : -0.5e+10 , "b" : [ true , false ] } `, `{"a":01}`, `{"a":1.}`, `{"a":-}`,
		`{"a":"\u00e9\ud83d\ude00\n\/"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `[[[[[[[[[`, `{"a":tru}`, `{"\u0061":1,"a":1}`, "{\"a\":\"\x7f\"}", "{\"a\":\"\x1f\"}",
		`{"a":[1,]}`, `{"a":1 "b":2}`, `{,}`, `{"a"}`, `{"a":"`, `{"a":"\`, `{"a":1}x`, `"a"`, `{"a":"\u+123"}`, `{"a":"\ud83d\u+e00"}`, "{\"a\":\"\xff\"}", "{}\xff",
		`{"a":{"b":[1,2,3,4,5]}}`, `{"iss":"a","sub":"b","alg":"c"}`, `{"a":1E5,"b":1e,"c":.5}`,
	} {
		f.Add([]byte(seed), 3, 6)
	}
	f.Fuzz(func(t *testing.T, data []byte, depth, values int) {
		limits := Limits{Depth: depth & 15, Values: values & 31}
		got, err := ObjectWithin(data, limits)
		want, wantErr := byDecoder(data, limits)
		if !errors.Is(err, wantErr) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q within %+v: %v, %v; want %v, %v", data, limits, got, err, want, wantErr)
		}
	})
}

// TestScannerTakesFewAllocations: one for the map's table and two for each text, at most.
func TestScannerTakesFewAllocations(t *testing.T) {
	data := []byte(`{"iss":"https://id.example.com","sub":"alice","exp":1800000060,"scope":"` + strings.Repeat("a ", 99) + `"}`)
	n := testing.AllocsPerRun(100, func() {
		if _, err := Object(data, 2); err != nil {
			t.Error(err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for four members", n)
	}
}
