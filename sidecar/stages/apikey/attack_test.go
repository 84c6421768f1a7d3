package apikey

import (
	"net/http/httptest"
	"testing"
)

// TestQueryVariants: what some app reads as the parameter never reaches it, and is no key.
func TestQueryVariants(t *testing.T) {
	a := &authenticator{places: placesOf([]Location{{Query: "api_key"}})}
	for query, want := range map[string]string{
		"a=1&api_key=K&b=2":          "a=1&b=2",
		"api_key=K":                  "",
		"a=%zz&api_key=K%zz":         "a=%zz",
		"a=1&api%5fkey=K":            "a=1",
		"a=1&API_KEY=K&b=2":          "a=1&b=2", // ASP.NET ignores case
		"api.key=K&a=1":              "a=1",     // PHP reads a dot, a space and an open bracket as an underscore
		"api+key=K&a=1":              "a=1",
		"api%20key=K&a=1":            "a=1",
		"%20api_key=K&a=1":           "a=1", // PHP removes spaces before the name
		"api%5Bkey=K&a=1":            "a=1",
		"api_key[]=K&a=1":            "a=1", // PHP, Rails and qs make a list of it
		"api_key%5Bx%5D=K&a=1":       "a=1",
		"api_key%00=K&a=1":           "a=1", // the name ends at NUL
		"api_keys=K&a=api_key&key=K": "api_keys=K&a=api_key&key=K",
		"a;api_key=K;b":              "a;b",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		a.removeQuery(r)
		if r.URL.RawQuery != want {
			t.Errorf("%s became %q; want %q", query, r.URL.RawQuery, want)
		}
		found, _ := a.find(r)
		if found != nil {
			t.Errorf("%s: %+v was found after the removal", query, found)
		}
	}
}
