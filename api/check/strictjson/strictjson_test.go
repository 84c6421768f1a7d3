package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestObject(t *testing.T) {
	tests := map[string]struct {
		in      string
		want    map[string]any
		wantErr error
	}{
		"empty":                  {in: `{}`, want: map[string]any{}},
		"nested":                 {in: ` {"a":{"b":[1,"x",null,true]}} `, want: map[string]any{"a": map[string]any{"b": []any{json.Number("1"), "x", nil, true}}}},
		"names keep their case":  {in: `{"exp":1,"Exp":2}`, want: map[string]any{"exp": json.Number("1"), "Exp": json.Number("2")}},
		"huge number stays text": {in: `{"a":1e999999}`, want: map[string]any{"a": json.Number("1e999999")}},
		"duplicate":              {in: `{"a":1,"a":2}`, wantErr: ErrDuplicate},
		"duplicate by escape":    {in: `{"a":1,"\u0061":2}`, wantErr: ErrDuplicate},
		"duplicate inside":       {in: `{"x":[{"a":1,"a":1}]}`, wantErr: ErrDuplicate},
		"too deep":               {in: `{"a":[[[1]]]}`, wantErr: ErrDepth},
		"bomb":                   {in: `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, wantErr: ErrDepth},
		"array":                  {in: `[]`, wantErr: ErrSyntax},
		"string":                 {in: `"a"`, wantErr: ErrSyntax},
		"null":                   {in: `null`, wantErr: ErrSyntax},
		"nothing":                {in: ``, wantErr: ErrSyntax},
		"trailing data":          {in: `{}{}`, wantErr: ErrSyntax},
		"trailing comma":         {in: `{"a":1,}`, wantErr: ErrSyntax},
		"NaN":                    {in: `{"a":NaN}`, wantErr: ErrSyntax},
		"byte order mark":        {in: "\ufeff{}", wantErr: ErrSyntax},
		"invalid UTF-8":          {in: "{\"a\":\"\xff\"}", wantErr: ErrSyntax},
		"lone surrogate":         {in: `{"a":"x\ud800"}`, wantErr: ErrSurrogate},
		"lone low surrogate":     {in: `{"a":"\uDC00x"}`, wantErr: ErrSurrogate},
		"surrogates swapped":     {in: `{"a":"\udc00\ud800"}`, wantErr: ErrSurrogate},
		"two high surrogates":    {in: `{"a":"\ud800\ud800\udc00"}`, wantErr: ErrSurrogate},
		"surrogate in a name":    {in: `{"\ud800":1}`, wantErr: ErrSurrogate},
		"surrogate inside":       {in: `{"a":[{"b":"\udfff"}]}`, wantErr: ErrSurrogate},
		"after a backslash":      {in: `{"a":"\\\ud800"}`, wantErr: ErrSurrogate},
		"surrogate pair":         {in: `{"a":"\ud83d\ude00"}`, want: map[string]any{"a": "😀"}},
		"an escaped backslash":   {in: `{"a":"\\ud800"}`, want: map[string]any{"a": `\ud800`}},
		"unclosed":               {in: `{"a":[`, wantErr: ErrSyntax},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Object([]byte(tt.in), 3)
			if !errors.Is(err, tt.wantErr) || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("Object = %v, %v; want %v, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestObjectWithin(t *testing.T) {
	tests := map[string]struct {
		in      string
		wantErr error
	}{
		"as many as allowed": {in: `{"a":1,"b":[1],"c":{}}`},
		"one more":           {in: `{"a":1,"b":[1],"c":{"d":1}}`, wantErr: ErrValues},
		"elements":           {in: `{"a":[1,2,3,4]}`, wantErr: ErrValues},
		"in a string":        {in: `{"a":",,,,,,,,,,[[[{{{"}`},
		"too deep":           {in: `{"a":[[[1]]]}`, wantErr: ErrDepth},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ObjectWithin([]byte(tt.in), Limits{Depth: 3, Values: 4}); !errors.Is(err, tt.wantErr) {
				t.Errorf("%v; want %v", err, tt.wantErr)
			}
		})
	}
}

// FuzzObject checks that encoding/json reads every accepted object in the same way.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"c":"\ud800"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Object(data, 8)
		if err != nil {
			return
		}
		var want map[string]any
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Object(%q) = %v; encoding/json: %v, %v", data, got, want, err)
		}
	})
}
