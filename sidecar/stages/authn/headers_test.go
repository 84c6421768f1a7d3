package authn

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

func TestHeaderValues(t *testing.T) {
	tests := map[string]struct{ claim, want string }{
		"string":                     {`"alice"`, "alice"},
		"string with a comma":        {`"Doe, Jane"`, "UTF-8''Doe%2C%20Jane"},
		"string like an array":       {`"[1]"`, "UTF-8''%5B1%5D"},
		"string like an object":      {`"{\"a\":1}"`, "UTF-8''%7B%22a%22%3A1%7D"},
		"element like an array":      {`["[a]","b"]`, "UTF-8''%5Ba%5D,b"},
		"string with a percent sign": {`"100%25"`, "100%25"},
		"integer":                    {`42`, "42"},
		"large number keeps digits":  {`12345678901234567890`, "12345678901234567890"},
		"boolean":                    {`false`, "false"},
		"null":                       {`null`, ""},
		"empty string":               {`""`, ""},
		"empty array":                {`[]`, ""},
		"array":                      {`["a",1,true]`, "a,1,true"},
		"array of one":               {`["a"]`, "a"},
		"comma inside an element":    {`["user,admin"]`, "UTF-8''user%2Cadmin"},
		"space before an element":    {`["a"," admin"]`, "UTF-8''a,%20admin"},
		"not ASCII":                  {`"José"`, "UTF-8''Jos%C3%A9"},
		"line break":                 {`"a\r\nX-Admin: 1"`, "UTF-8''a%0D%0AX-Admin%3A%201"},
		"NUL":                        {`"a\u0000"`, "UTF-8''a%00"},
		"tab":                        {`"a\tb"`, "UTF-8''a%09b"},
		"DEL":                        {`"a\u007f"`, "UTF-8''a%7F"},
		"space at the end":           {`"admin "`, "UTF-8''admin%20"},
		"only a space":               {`" "`, "UTF-8''%20"},
		"looks encoded":              {`"utf-8''admin"`, "UTF-8''utf-8%27%27admin"},
		"element looks encoded":      {`["UTF-8''admin"]`, "UTF-8''UTF-8%27%27admin"},
		"object":                     {`{"b":"é","a":[1]}`, `{"a":[1],"b":"\u00e9"}`},
		"object beyond the BMP":      {`{"a":"😀\u007f"}`, `{"a":"\ud83d\ude00\u007f"}`},
		"array of objects":           {`[{"a":1},"b"]`, `[{"a":1},"b"]`},
		"array with null":            {`[null]`, `[null]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			claims, err := strictjson.Object([]byte(`{"c":`+tt.claim+`}`), 8)
			if err != nil {
				t.Fatal(err)
			}
			p := &provider{Provider: Provider{ClaimsToHeaders: []ClaimHeader{{Claim: "c", Header: "x-c"}, {Claim: "absent", Header: "X-Absent"}}}}
			got, err := headersOf(p, &identity.Identity{Claims: claims})
			if err != nil {
				t.Fatal(err)
			}
			var want []header
			if tt.want != "" {
				want = []header{{"X-C", tt.want}}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("headers %q, want %q", got, want)
			}
		})
	}
}

// FuzzHeaderValue checks that every claim becomes a valid field, and that an app gets the claim's own text back.
func FuzzHeaderValue(f *testing.F) {
	f.Add("alice", "a,b")
	f.Add("UTF-8''x", "\r\n\x00é")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		for _, elements := range [][]string{{a}, {a, b}} {
			list := make([]any, len(elements))
			for i, e := range elements {
				list[i] = e
			}
			got, err := format(Auto, "", list)
			if err != nil {
				t.Fatal(err)
			}
			if !httpguts.ValidHeaderFieldValue(got) || got != strings.TrimSpace(got) {
				t.Fatalf("%q gives %q", elements, got)
			}
			if back := decodeField(t, got); !slices.Equal(back, elements) {
				t.Fatalf("%q gives %q, which is read as %q", elements, got, back)
			}
		}
		if got, err := format(Auto, "", map[string]any{a: b}); err != nil || !httpguts.ValidHeaderFieldValue(got) || !json.Valid([]byte(got)) {
			t.Fatalf("an object of %q and %q gives %q, %v", a, b, got, err)
		}
	})
}

// decodeField reads a header as an app does.
func decodeField(t *testing.T, value string) []string {
	t.Helper()
	rest, encoded := strings.CutPrefix(value, extended)
	elements := strings.Split(rest, ",")
	for i, e := range elements {
		if !encoded {
			continue
		}
		var err error
		if elements[i], err = url.PathUnescape(e); err != nil {
			t.Fatal(err)
		}
	}
	return elements
}
