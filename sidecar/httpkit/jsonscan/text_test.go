package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

// textOf reads text in pieces of n bytes; 0 is all at once.
func textOf(path, text string, n int) (string, bool) {
	s := New(strings.Split(path, "."))
	for len(text) > 0 && n > 0 {
		s.Write([]byte(text[:min(n, len(text))]))
		text = text[min(n, len(text)):]
	}
	s.Write([]byte(text))
	return s.Text()
}

func TestText(t *testing.T) {
	tests := map[string]struct {
		text string
		want string
		none bool
	}{
		"a string":              {text: `{"name":"x","data":{"id":"u-7"}}`, want: "u-7"},
		"a number":              {text: `{"data":{"id":12345678901234567890}}`, want: "12345678901234567890"},
		"a negative number":     {text: `{"data":{"id":-1}}`, want: "-1"},
		"escapes":               {text: `{"data":{"id":"\u00e9\n\"\\ 😀"}}`, want: "é\n\"\\ 😀"},
		"an empty string":       {text: `{"data":{"id":""}}`, want: ""},
		"the first of two":      {text: `{"data":{"id":"a"},"data":{"id":"b"}}`, want: "a"},
		"the first of lines":    {text: "{\"data\":{\"id\":1}}\n{\"data\":{\"id\":2}}", want: "1"},
		"a boolean":             {text: `{"data":{"id":true}}`, none: true},
		"null":                  {text: `{"data":{"id":null}}`, none: true},
		"an object":             {text: `{"data":{"id":{"id":"x"}}}`, none: true},
		"a list":                {text: `{"data":{"id":["x"]}}`, none: true},
		"in a list":             {text: `{"data":[{"id":"x"}]}`, none: true},
		"elsewhere":             {text: `{"id":"x","other":{"id":"y"}}`, none: true},
		"a name as a value":     {text: `{"data":{"a":"id","b":"x"}}`, none: true},
		"the longest":           {text: `{"data":{"id":"` + strings.Repeat("x", MaxText) + `"}}`, want: strings.Repeat("x", MaxText)},
		"too long":              {text: `{"data":{"id":"` + strings.Repeat("x", MaxText+1) + `"}}`, none: true},
		"too long a number":     {text: `{"data":{"id":` + strings.Repeat("1", maxNumber+1) + `}}`, none: true},
		"cut short":             {text: `{"data":{"id":"u-7`, none: true},
		"before the cut":        {text: `{"data":{"id":"u-7","x`, want: "u-7"},
		"a control character":   {text: "{\"data\":{\"id\":\"a\nb\"}}", none: true},
		"not JSON before":       {text: `<html>{"data":{"id":"x"}}`, none: true},
		"a string after a long": {text: `{"data":{"id":"` + strings.Repeat("x", MaxText+1) + `","id":"y"}}`, want: "y"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 3} {
				got, found := textOf("data.id", tt.text, n)
				if found == tt.none || got != tt.want {
					t.Errorf("pieces of %d: %q, %v; want %q, %v", n, got, found, tt.want, !tt.none)
				}
			}
		})
	}
}

// FuzzText compares a text with what encoding/json finds, and pieces with the whole.
func FuzzText(f *testing.F) {
	f.Add(`{"id":"\u00e9\"x"}`, uint8(1))
	f.Add(`{"id":12,"id":"a"}`, uint8(2))
	f.Add(`[{"id":1}]`, uint8(0))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		whole, found := textOf("id", text, 0)
		if piece, ok := textOf("id", text, int(n%16)+1); piece != whole || ok != found {
			t.Fatalf("in pieces %q, %v; whole %q, %v", piece, ok, whole, found)
		}
		var object struct {
			ID json.RawMessage `json:"id"`
		}
		if strings.Count(text, `"id"`) != 1 || strings.Contains(text, `\`) || strings.Contains(strings.ToLower(strings.Replace(text, `"id"`, "", 1)), "id") || json.Unmarshal([]byte(text), &object) != nil || len(object.ID) == 0 || len(text) > MaxText {
			return
		}
		var want string
		switch c := object.ID[0]; {
		case c == '"':
			if json.Unmarshal(object.ID, &want) != nil {
				return
			}
		case (c == '-' || '0' <= c && c <= '9') && len(object.ID) <= maxNumber:
			want = string(object.ID)
		default:
			return
		}
		if strings.HasPrefix(strings.TrimSpace(text), `{"id"`) && (!found || whole != want) {
			t.Fatalf("%q: %q, %v; encoding/json finds %q", text, whole, found, want)
		}
	})
}
