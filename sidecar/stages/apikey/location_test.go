package apikey

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestWithout(t *testing.T) {
	for query, want := range map[string]string{
		"":                      "",
		"a=1":                   "a=1",
		"api_key=x":             "",
		"a=1&api_key=x":         "a=1",
		"api_key=x&a=%zz;b&&c=": "a=%zz;b&&c=",
		"a=1&api%5fkey=x&b=2":   "a=1&b=2",
		"a=1;api_key=x;b=2":     "a=1;b=2",
		"api_key":               "",
		"API_KEY=x&my_api_key=": "my_api_key=",
		"api_key=x&api_key=y":   "",
	} {
		if got := without(query, "api_key"); got != want {
			t.Errorf("%q without the key is %q; want %q", query, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"a=1&api_key=x", "api%5Fkey=x;api_key=y", "%zz=1", "&;=&", "api_key"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		rest := without(query, "api_key")
		if len(inQuery(rest, "api_key")) > 0 || len(rest) > len(query) {
			t.Errorf("%q without the key is %q", query, rest)
		}
	})
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"", "YTpi", "YQ==", "!!!", base64.StdEncoding.EncodeToString([]byte("\xff:\x00:b")), strings.Repeat("YTpi", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parseBasic(text)
		if c.malformed && c.key != "" || len(c.key) > maxBasic {
			t.Errorf("%q is %+v", text, c)
		}
	})
}
