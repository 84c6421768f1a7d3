package expression

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestHeadersAreLookedUpByName: a condition for a header that could be met although the header is there is a mistake. The sidecar has
// to know the names, so that a client cannot remove these headers or send variants of them.
func TestHeadersAreLookedUpByName(t *testing.T) {
	tests := map[string]struct {
		text         string
		line, column int
		want         string
	}{
		"a name in capitals":             {`!("X-Debug" in request.headers)`, 1, 3, `write "x-debug"`},
		"a name in capitals, looked up":  {`request.headers["X-Tenant"] == "a"`, 1, 17, `write "x-tenant"`},
		"a field in capitals":            {`!has(request.headers.Debug)`, 1, 13, `write "debug"`},
		"every header":                   {`request.headers.all(h, h != "x-debug")`, 1, 8, "by a name in quotes"},
		"no header":                      {`!request.headers.exists(h, h.startsWith("x-internal-"))`, 1, 9, "by a name in quotes"},
		"a filter":                       {`request.headers.filter(h, h == "x-debug").size() == 0`, 1, 8, "by a name in quotes"},
		"a name that a client sends":     {`request.headers[request.host] == "a"`, 1, 8, "by a name in quotes"},
		"a name that is computed":        {`!(("x-" + request.method) in request.headers)`, 1, 37, "by a name in quotes"},
		"the number of headers":          {`request.headers.size() < 10`, 1, 8, "by a name in quotes"},
		"all headers at once":            {`request.headers == {"x-a": "b"}`, 1, 8, "by a name in quotes"},
		"headers in a list":              {`[request.headers].exists(m, "x-a" in m)`, 1, 9, "by a name in quotes"},
		"headers that depend":            {`(request.method == "GET" ? request.headers : request.headers)["x-a"] == "b"`, 1, 35, "by a name in quotes"},
		"a name that no header has":      {`!("x debug" in request.headers)`, 1, 3, "no header has this name"},
		"an empty name":                  {`!("" in request.headers)`, 1, 3, "no header has this name"},
		"a name with an underscore":      {`!has(request.headers.x_debug)`, 1, 13, "no header has this name"},
		"a name beyond ASCII":            {`!("x-é" in request.headers)`, 1, 3, "no header has this name"},
		"a name with a star, as a group": {`!("x-*" in request.headers)`, 1, 3, "no header has this name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(tt.text)
			var mistake *Error
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, tt.want) || mistake.Line != tt.line || mistake.Column != tt.column {
				t.Errorf("%v; want %d:%d %q", err, tt.line, tt.column, tt.want)
			}
		})
	}
}

func TestUses(t *testing.T) {
	tests := map[string]struct {
		text      string
		want      []string
		wantQuery bool
	}{
		"no header":        {text: `claims.tenant == "x-tenant"`},
		"an index":         {text: `request.headers["x-tenant"] == claims.tenant`, want: []string{"x-tenant"}},
		"in":               {text: `"x-a" in request.headers`, want: []string{"x-a"}},
		"has":              {text: `has(request.headers.origin)`, want: []string{"origin"}},
		"a field":          {text: `request.headers.origin == "https://a.example"`, want: []string{"origin"}},
		"several":          {text: `request.headers["x-b"] == "1" || ("x-a" in request.headers && request.headers["x-a"] == "2")`, want: []string{"x-a", "x-b"}},
		"inside of macros": {text: `claims.tenants.exists(t, t == request.headers["x-tenant"])`, want: []string{"x-tenant"}},
		"the query":        {text: `"dry" in request.query`, wantQuery: true},
		"its parameters":   {text: `request.query.all(k, k != "debug")`, wantQuery: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Headers(); !slices.Equal(got, tt.want) || p.ReadsQuery() != tt.wantQuery {
				t.Errorf("headers %q, query %v; want %q, %v", got, p.ReadsQuery(), tt.want, tt.wantQuery)
			}
		})
	}
}

// TestUnknownIsNotAValue: an address or a host that is not known does not differ from those that an expression names.
func TestUnknownIsNotAValue(t *testing.T) {
	for _, text := range []string{`request.address != "10.0.0.1"`, `request.host != "admin.example.com"`, `!request.host.endsWith(".example.com")`} {
		p, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		in := input()
		in.Address, in.Host = netip.Addr{}, ""
		if met, err := p.Eval(in); met || !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v, %v; want ErrValue", text, met, err)
		}
	}
}

// TestNobodyHasNoClaims: a request without an identity has an empty map of claims.
func TestNobodyHasNoClaims(t *testing.T) {
	for text, want := range map[string]struct {
		met bool
		err error
	}{
		`has(claims.tenant)`:        {false, nil},
		`!has(claims.tenant)`:       {true, nil},
		`claims.tenant != "other"`:  {false, ErrValue},
		`claims.all(k, k == "sub")`: {true, nil},
	} {
		p, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		in := input()
		in.Claims = nil
		if met, err := p.Eval(in); met != want.met || !errors.Is(err, want.err) {
			t.Errorf("%s: %v, %v; want %+v", text, met, err, want)
		}
	}
}
