package identity

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	all := func(m ...string) Members { return Members{All: m} }
	any1 := func(m ...string) Members { return Members{Any: m} }
	tests := map[string]struct {
		claim string
		want  Members
		met   bool
	}{
		"one of several words":       {`"openid orders:read email"`, all("orders:read"), true},
		"all of several words":       {`"openid orders:read email"`, all("email", "openid"), true},
		"one is missing":             {`"openid orders:read"`, all("openid", "email"), false},
		"any":                        {`"openid orders:read"`, any1("orders:write", "orders:read"), true},
		"none of any":                {`"openid"`, any1("orders:write", "orders:read"), false},
		"all and any":                {`"openid a"`, Members{All: []string{"openid"}, Any: []string{"a", "b"}}, true},
		"all without any":            {`"openid"`, Members{All: []string{"openid"}, Any: []string{"a", "b"}}, false},
		"a prefix of a word":         {`"orders:read_write"`, all("orders:read"), false},
		"a suffix of a word":         {`"x-orders:read"`, all("orders:read"), false},
		"another case":               {`"Orders:Read"`, all("orders:read"), false},
		"several spaces":             {`"  a   b "`, all("a", "b"), true},
		"other white space":          {`"a\tb\nc\u00a0d"`, any1("a", "b", "c", "d"), false},
		"commas do not separate":     {`"a,b"`, any1("a", "b"), false},
		"an array":                   {`["a","b"]`, all("a", "b"), true},
		"an element is one member":   {`["a b"]`, any1("a", "b"), false},
		"elements of other types":    {`[null,{"a":1},["a"],1,true]`, all("1", "true"), true},
		"an array in an array":       {`[["a"]]`, all("a"), false},
		"a number":                   {`7`, all("7"), true},
		"an object":                  {`{"a":true}`, all("a"), false},
		"null":                       {`null`, all("null"), false},
		"empty":                      {`""`, all(""), false},
		"only spaces":                {`"  "`, all(""), false},
		"an empty array":             {`[]`, any1("a"), false},
		"nothing required of nobody": {`""`, Members{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			decoder := json.NewDecoder(strings.NewReader(tt.claim))
			decoder.UseNumber()
			var claim any
			if err := decoder.Decode(&claim); err != nil {
				t.Fatal(err)
			}
			if got := tt.want.MetBy(claim); got != tt.met {
				t.Errorf("%+v met by %s: %v; want %v", tt.want, tt.claim, got, tt.met)
			}
		})
	}
	if (Members{All: []string{"a"}}).MetBy(nil) {
		t.Error("an absent claim has members")
	}
}

// FuzzMembers checks that a word of a string is its member, and that nothing else is.
func FuzzMembers(f *testing.F) {
	f.Add("openid orders:read", "orders:read")
	f.Add(" a  b ", "a b")
	f.Fuzz(func(t *testing.T, claim, member string) {
		want := member != "" && !strings.Contains(member, " ") && strings.Contains(" "+claim+" ", " "+member+" ")
		if got := (Members{Any: []string{member}}).MetBy(claim); got != want {
			t.Fatalf("%q has the member %q: %v; want %v", claim, member, got, want)
		}
	})
}
