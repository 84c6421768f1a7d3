package authn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/posterndev/postern/api/check/strictjson"
)

// decode returns a claim as a token holds it.
func decode(t *testing.T, claim string) any {
	t.Helper()
	claims, err := strictjson.Object([]byte(`{"c":`+claim+`}`), 8)
	if err != nil {
		t.Fatal(err)
	}
	return claims["c"]
}

func TestFormats(t *testing.T) {
	tests := map[string]struct {
		format  Format
		claim   string
		want    string
		wantErr error
	}{
		"text":                         {Text, `"Doe, Jane"`, "Doe, Jane", nil},
		"text beyond ASCII":            {Text, `"Zoë 東京"`, "Zoë 東京", nil},
		"text that looks like JSON":    {Text, `"[1]"`, "[1]", nil},
		"text, a number":               {Text, `12345678901234567890`, "12345678901234567890", nil},
		"text, empty":                  {Text, `""`, "", nil},
		"text, null":                   {Text, `null`, "", nil},
		"text, a list":                 {Text, `["a"]`, "", errNotText},
		"text, an object":              {Text, `{}`, "", errNotText},
		"text with a line break":       {Text, `"a\r\nX-Admin: 1"`, "", errControl},
		"text with a control":          {Text, `"a\u0085b"`, "", errControl},
		"text with a line separator":   {Text, `"a\u2028b"`, "", errControl},
		"text with a space at the end": {Text, `"admin "`, "", errControl},
		"text with a wide space":       {Text, `"\u3000admin"`, "", errControl},
		"Latin-1":                      {Latin1, `"José"`, "Jos\xe9", nil},
		"Latin-1, its last character":  {Latin1, `"ÿ"`, "\xff", nil},
		"Latin-1, beyond":              {Latin1, `"Ā"`, "", errNotLatin1},
		"Latin-1, a no-break space":    {Latin1, `"\u00a0admin"`, "", errControl},
		"percent":                      {Percent, `"José, Ltd"`, "Jos%C3%A9%2C%20Ltd", nil},
		"percent, a list":              {Percent, `["a,b","c",1,true]`, "a%2Cb,c,1,true", nil},
		"percent, a line break":        {Percent, `"a\nb"`, "a%0Ab", nil},
		"percent, an object":           {Percent, `{"a":1}`, "", errNotList},
		"percent, null in a list":      {Percent, `[null]`, "", errNotList},
		"JSON, a string":               {JSON, `"a,b"`, `"a,b"`, nil},
		"JSON, a list":                 {JSON, `["a","b"]`, `["a","b"]`, nil},
		"JSON, a list of one":          {JSON, `["a"]`, `["a"]`, nil},
		"JSON, empty":                  {JSON, `""`, `""`, nil},
		"JSON, an empty list":          {JSON, `[]`, `[]`, nil},
		"JSON beyond ASCII":            {JSON, `{"é":"😀\n\u007f"}`, `{"\u00e9":"\ud83d\ude00\n\u007f"}`, nil},
		"JSON, a large number":         {JSON, `12345678901234567890`, "12345678901234567890", nil},
		"base64url":                    {Base64URL, `{"a":"é?>"}`, base64.RawURLEncoding.EncodeToString([]byte(`{"a":"é?\u003e"}`)), nil},
		"base64url, null":              {Base64URL, `null`, "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := format(tt.format, "", decode(t, tt.claim))
			if got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("%s gives %q, %v; want %q, %v", tt.claim, got, err, tt.want, tt.wantErr)
			}
		})
	}
}

// TestAutoEncodings sends text as the app that issued the token writes it.
func TestAutoEncodings(t *testing.T) {
	tests := map[string]struct{ claim, plain, utf8, latin1, percent string }{
		"ASCII":          {`"user-42"`, "user-42", "user-42", "user-42", "user-42"},
		"an address":     {`"a@b.example"`, "a@b.example", "a@b.example", "a@b.example", "a%40b.example"},
		"Latin-1":        {`"José"`, "UTF-8''Jos%C3%A9", "José", "Jos\xe9", "Jos%C3%A9"},
		"beyond Latin-1": {`"東"`, "UTF-8''%E6%9D%B1", "東", "UTF-8''%E6%9D%B1", "%E6%9D%B1"},
		"a control":      {`"é\u0085"`, "UTF-8''%C3%A9%C2%85", "UTF-8''%C3%A9%C2%85", "UTF-8''%C3%A9%C2%85", "%C3%A9%C2%85"},
		"a comma":        {`"é,b"`, "UTF-8''%C3%A9%2Cb", "UTF-8''%C3%A9%2Cb", "UTF-8''%C3%A9%2Cb", "%C3%A9%2Cb"},
		"a list":         {`["é","b"]`, "UTF-8''%C3%A9,b", "é,b", "\xe9,b", "%C3%A9,b"},
		"an object":      {`{"a":"é"}`, `{"a":"\u00e9"}`, `{"a":"\u00e9"}`, `{"a":"\u00e9"}`, `{"a":"\u00e9"}`},
	}
	for name, tt := range tests {
		for encoding, want := range map[Encoding]string{"": tt.plain, UTF8Fields: tt.utf8, Latin1Fields: tt.latin1, PercentFields: tt.percent} {
			if got, err := format(Auto, encoding, decode(t, tt.claim)); got != want || err != nil {
				t.Errorf("%s in %q gives %q, %v; want %q", name, encoding, got, err, want)
			}
		}
	}
}

// TestDifferentClaimsLookDifferent: no text of a user looks like a list, or like another type.
func TestDifferentClaimsLookDifferent(t *testing.T) {
	claims := []string{
		`"a,b"`, `["a","b"]`, `"{\"a\":1}"`, `{"a":1}`, `"[1,{}]"`, `[1,{}]`, `"UTF-8''a"`, `"utf-8''a"`, `"é"`, `"UTF-8''%C3%A9"`, `"Ã©"`, `"%C3%A9"`, `["a,b"]`,
		`["é,b"]`, `["é","b"]`, `"[null]"`, `[null]`, `" a"`, `"a "`, `"a\n"`,
	}
	for _, encoding := range []Encoding{"", UTF8Fields, Latin1Fields, PercentFields} {
		for _, f := range []Format{Auto, JSON, Base64URL} {
			seen := map[string]string{}
			for _, claim := range claims {
				got, err := format(f, encoding, decode(t, claim))
				if other, taken := seen[got]; err != nil || taken && !(claim == `["a,b"]` && other == `"a,b"` && f == Auto) {
					t.Errorf("%s in %q: %s and %s both give %q (%v)", f, encoding, claim, other, got, err)
				}
				seen[got] = claim
				if claim == `["a,b"]` && f == Auto {
					continue // documented: a list of one looks like its member
				}
			}
		}
	}
}

// FuzzFormat checks that every format gives a valid header or refuses, and that an app gets the text back.
func FuzzFormat(f *testing.F) {
	f.Add("alice")
	f.Add("José, [x]")
	f.Add("\r\nX: 1\u0085\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		for _, form := range []Format{Auto, Text, Latin1, Percent, JSON, Base64URL} {
			for _, encoding := range []Encoding{"", UTF8Fields, Latin1Fields, PercentFields} {
				got, err := format(form, encoding, s)
				if err != nil {
					continue
				}
				if !httpguts.ValidHeaderFieldValue(got) || got != strings.Trim(got, " \t") {
					t.Fatalf("%s %q: %q gives %q", form, encoding, s, got)
				}
				if back := undo(t, form, encoding, got); back != s {
					t.Fatalf("%s %q: %q gives %q, which is read as %q", form, encoding, s, got, back)
				}
			}
		}
	})
}

// undo reads a header as an app does.
func undo(t *testing.T, form Format, encoding Encoding, value string) string {
	t.Helper()
	var err error
	if rest, ok := strings.CutPrefix(value, extended); ok && form == Auto {
		value, err = url.PathUnescape(rest)
	} else {
		switch {
		case form == Latin1, form == Auto && encoding == Latin1Fields:
			runes := make([]rune, len(value))
			for i := range len(value) {
				runes[i] = rune(value[i])
			}
			value = string(runes)
		case form == Percent, form == Auto && encoding == PercentFields:
			value, err = url.PathUnescape(value)
		case form == Base64URL:
			var b []byte
			if b, err = base64.RawURLEncoding.DecodeString(value); err == nil {
				err = json.Unmarshal(b, &value)
			}
		case form == JSON:
			err = json.Unmarshal([]byte(value), &value)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
