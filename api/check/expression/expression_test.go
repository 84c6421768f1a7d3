package expression

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// input is a request of ada's.
func input() *Input {
	var claims map[string]any
	d := json.NewDecoder(strings.NewReader(`{"sub":"ada","tenant":"acme","level":3,"ratio":1.5,"big":123456789012345678901234567890,"admin":true,"none":null,
		"realm_access":{"roles":["support","dev"]},"https://example.com/plan":"gold","ids":[1,2,3]}`))
	d.UseNumber()
	if err := d.Decode(&claims); err != nil {
		panic(err)
	}
	return &Input{
		Method: "POST", Path: "/orders/7/refund", Segments: []string{"orders", "7", "refund"},
		Query: url.Values{"dry": {"1"}, "tag": {"a", "b"}}, Host: "shop.example.com", Address: netip.MustParseAddr("192.0.2.7"),
		Headers: http.Header{"X-Tenant": {"acme"}, "X-Twice": {"acme", "other"}}, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Claims: claims,
	}
}

func TestEval(t *testing.T) {
	tests := map[string]struct {
		text string
		want bool
		// wantErr: the expression has no value for this request, so the condition is not met.
		wantErr error
	}{
		"of the documentation":          {text: `request.segments[1] != "0" && claims.tenant == request.headers["x-tenant"]`, want: true},
		"method and path":               {text: `request.method == "POST" && request.path.startsWith("/orders/")`, want: true},
		"a pattern":                     {text: `request.path.matches("^/orders/[0-9]+/refund$")`, want: true},
		"a query parameter":             {text: `request.query["dry"] == ["1"] && "b" in request.query.tag`, want: true},
		"an absent query parameter":     {text: `"x" in request.query && request.query.x == ["1"]`},
		"a host":                        {text: `request.host.endsWith(".example.com")`, want: true},
		"an address":                    {text: `request.address == "192.0.2.7"`, want: true},
		"office hours":                  {text: `request.time.getHours() >= 8 && request.time.getHours() < 18 && request.time.getDayOfWeek() == 0`, want: true},
		"before a date":                 {text: `request.time < timestamp("2027-01-01T00:00:00Z")`, want: true},
		"a whole number":                {text: `claims.level >= 3 && claims.level == 3.0`, want: true},
		"a fraction":                    {text: `claims.ratio > 1`, want: true},
		"a number beyond 64 bits":       {text: `claims.big > 1`, wantErr: ErrValue},
		"a boolean":                     {text: `claims.admin`, want: true},
		"a nested list":                 {text: `"support" in claims.realm_access.roles`, want: true},
		"a name with dots":              {text: `claims["https://example.com/plan"] == "gold"`, want: true},
		"a list":                        {text: `claims.ids.exists(i, i > 2) && claims.ids.all(i, i < 4)`, want: true},
		"a claim that is there":         {text: `has(claims.tenant) && !has(claims.missing)`, want: true},
		"null":                          {text: `claims.none == null`, want: true},
		"a header that is there":        {text: `"x-tenant" in request.headers && !("x-other" in request.headers)`, want: true},
		"has, of a header":              {text: `has(request.headers.host) || true`, want: true},
		"false":                         {text: `claims.tenant == "other"`},
		"an absent claim":               {text: `claims.missing == "x"`, wantErr: ErrValue},
		"an absent claim, negated":      {text: `claims.missing != "x"`, wantErr: ErrValue},
		"an absent header":              {text: `request.headers["x-other"] != "x"`, wantErr: ErrValue},
		"a header sent twice":           {text: `request.headers["x-twice"] == "acme"`, wantErr: ErrValue},
		"a header sent twice, negated":  {text: `request.headers["x-twice"] != "evil"`, wantErr: ErrValue},
		"whether it was sent":           {text: `!("x-twice" in request.headers)`, wantErr: ErrValue},
		"a segment that is not there":   {text: `request.segments[9] == "x"`, wantErr: ErrValue},
		"a claim of another type":       {text: `claims.tenant > 3`, wantErr: ErrValue},
		"a text where a list should be": {text: `claims.tenant.exists(x, x == "a")`, wantErr: ErrValue},
		"a claim as the result":         {text: `claims.level`, wantErr: ErrValue},
		"an error beside true":          {text: `claims.missing == "x" || request.method == "POST"`, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Eval(input()); got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("%v, %v; want %v, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	tests := map[string]struct {
		text         string
		line, column int
		want         string
	}{
		"syntax":                 {"request.method ==", 1, 18, "Syntax error"},
		"the second line":        {"request.method == \"GET\" &&\n  request.verb == \"x\"", 2, 3, "undeclared reference"},
		"beyond ASCII":           {`"é" == claim.x`, 1, 8, "undeclared reference"},
		"types":                  {`request.method == 3`, 1, 16, "no matching overload"},
		"a list and a text":      {`request.query["a"] == "x"`, 1, 20, "no matching overload"},
		"no condition":           {`request.method`, 0, 0, "must be true or false"},
		"a header in capitals":   {`request.headers["X-Tenant"] == "acme"`, 1, 17, `write "x-tenant"`},
		"a pattern of the input": {`request.path.matches(request.headers["x"])`, 1, 37, "write it in quotes"},
		"an invalid pattern":     {`request.path.matches("(")`, 1, 22, "invalid matches argument"},
		"an invalid time":        {`request.time < timestamp("tomorrow")`, 1, 26, "invalid timestamp argument"},
		"macros in macros":       {`claims.a.all(x, claims.b.all(y, claims.c.all(z, x == y && y == z)))`, 1, 45, "nesting"},
		"too costly":             {`claims.a.all(x, claims.b.all(y, request.path.contains(string(x)) || request.host.contains(string(y))))`, 0, 0, "cost too much"},
		"too long":               {strings.Repeat(" ", MaxLength) + "true", 0, 0, "more than 4096 bytes"},
		"many parts":             {"claims.a in [" + strings.Repeat("1,", 1000) + "1]", 0, 0, "at most 1000"},
		"many macros":            {strings.Repeat(`claims.a.exists(x, x) || `, 9) + "true", 0, 0, "at most 8"},
		"many macros on results": {"claims.a" + strings.Repeat(".map(x, x)", 9) + " == []", 0, 0, "at most 8"},
		"brackets":               {strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), 0, 0, "recursion"},
		"empty":                  {"", 1, 1, "Syntax error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(tt.text)
			var mistake *Error
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, tt.want) || tt.line != 0 && (mistake.Line != tt.line || mistake.Column != tt.column) {
				t.Errorf("%+v; want %d:%d %q", err, tt.line, tt.column, tt.want)
			}
		})
	}
}

// TestCostIsBounded: a long list of claims ends the evaluation.
func TestCostIsBounded(t *testing.T) {
	p, err := Compile(`claims.a.all(x, claims.a.all(y, x == y))`)
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	long := make([]any, 5000)
	for i := range long {
		long[i] = "same"
	}
	in.Claims["a"] = long
	if got, err := p.Eval(in); got || !errors.Is(err, ErrCost) {
		t.Errorf("%v, %v; want ErrCost", got, err)
	}
}

// TestErrorsShowNothing: an error does not contain what a client sent.
func TestErrorsShowNothing(t *testing.T) {
	p, err := Compile(`request.query[string(claims.sub)] == ["x"] && duration(claims.tenant) > duration("1s")`)
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	in.Claims["sub"] = "s3cret"
	if _, err := p.Eval(in); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

// FuzzCompile: any text is compiled or refused, and what is compiled has a result for any request, without a panic and within its cost.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`claims.tenant == request.headers["x-tenant"]`, `request.segments[1] != "0"`, `claims.ids.exists(i, i > 2)`, `request.path.matches("^/a")`, `{"a": 1}["a"] == 1`, `[1, 2].map(x, x * 2)[0] == 2`} {
		f.Add(seed, "x-tenant", `{"a":[1]}`)
	}
	f.Fuzz(func(t *testing.T, text, header, claims string) {
		p, err := Compile(text)
		var mistake *Error
		if err != nil && !errors.As(err, &mistake) {
			t.Fatalf("%T is not an *Error", err)
		}
		in := input()
		in.Headers[http.CanonicalHeaderKey(header)] = append(in.Headers[http.CanonicalHeaderKey(header)], text)
		d := json.NewDecoder(strings.NewReader(claims))
		d.UseNumber()
		_ = d.Decode(&in.Claims)
		if err == nil {
			_, _ = p.Eval(in)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	p, err := Compile(`request.segments[1] != "0" && claims.tenant == request.headers["x-tenant"]`)
	if err != nil {
		b.Fatal(err)
	}
	in := input()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.Eval(in); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
