package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

// scan reads text in pieces of n bytes; 0 is all at once.
func scan(path, text string, events bool, n int) (int, bool) {
	s := New(strings.Split(path, "."))
	var w interface {
		Write([]byte)
		Cost() (int, bool)
	} = s
	if events {
		w = NewEvents(s)
	}
	for len(text) > 0 && n > 0 {
		w.Write([]byte(text[:min(n, len(text))]))
		text = text[min(n, len(text)):]
	}
	w.Write([]byte(text))
	return w.Cost()
}

func TestCost(t *testing.T) {
	const path = "usage.total_tokens"
	deep := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	tests := map[string]struct {
		text   string
		events bool
		want   int
		none   bool
	}{
		"the number":                  {text: `{"id":"x","usage":{"prompt_tokens":3,"total_tokens":12}}`, want: 12},
		"with spaces":                 {text: " {\n\"usage\" :\t{ \"total_tokens\" : 12 } } ", want: 12},
		"zero":                        {text: `{"usage":{"total_tokens":0}}`, want: 0},
		"a fraction, rounded up":      {text: `{"usage":{"total_tokens":1.01}}`, want: 2},
		"an exponent":                 {text: `{"usage":{"total_tokens":12E2}}`, want: 1200},
		"huge":                        {text: `{"usage":{"total_tokens":1e400}}`, want: MaxCost},
		"negative":                    {text: `{"usage":{"total_tokens":-5}}`, none: true},
		"text":                        {text: `{"usage":{"total_tokens":"12"}}`, none: true},
		"a literal":                   {text: `{"usage":{"total_tokens":true}}`, none: true},
		"null":                        {text: `{"usage":null}`, none: true},
		"an object":                   {text: `{"usage":{"total_tokens":{"a":1}}}`, none: true},
		"a list":                      {text: `{"usage":{"total_tokens":[1]}}`, none: true},
		"in a list":                   {text: `{"usage":[{"total_tokens":1}]}`, none: true},
		"in a list of all":            {text: `[{"usage":{"total_tokens":1}}]`, none: true},
		"too deep":                    {text: `{"a":{"usage":{"total_tokens":1}}}`, none: true},
		"not deep enough":             {text: `{"total_tokens":1,"usage":2}`, none: true},
		"after a similar one":         {text: `{"usages":{"total_tokens":1},"usag":{"total_tokens":2},"usage":{"total_tokens":3}}`, want: 3},
		"after its parent":            {text: `{"usage":{"x":{"total_tokens":1}},"total_tokens":2}`, none: true},
		"after a nested one":          {text: `{"usage":{"x":{"usage":{"total_tokens":1}},"total_tokens":2}}`, want: 2},
		"twice":                       {text: `{"usage":{"total_tokens":1},"usage":{"total_tokens":2}}`, want: 2},
		"in the next object":          {text: `{"usage":{"x":1},"b":{"total_tokens":2}}`, none: true},
		"also in the next object":     {text: `{"usage":{"total_tokens":1},"b":{"total_tokens":2}}`, want: 1},
		"after an object in another":  {text: `{"a":{"b":{},"total_tokens":2}}`, none: true},
		"after a deeper list":         {text: `{"usage":{"x":[[{}]],"total_tokens":2},"b":[{"total_tokens":3}]}`, want: 2},
		"in other letters":            {text: `{"Usage":{"total_tokens":1}}`, none: true},
		"in a string":                 {text: `{"text":"\"usage\":{\"total_tokens\":1}"}`, none: true},
		"an escaped name":             {text: `{"\u0075s\u0061ge":{"total\u005Ftokens":5}}`, want: 5},
		"a name with an escape":       {text: `{"usage\n":{"total_tokens":5}}`, none: true},
		"a string that ends oddly":    {text: `{"text":"\\","usage":{"total_tokens":5}}`, want: 5},
		"lines":                       {text: "{\"usage\":{\"total_tokens\":1}}\n{\"usage\":{\"total_tokens\":2}}\n{\"done\":true}\n", want: 2},
		"broken off before":           {text: `{"usage":{"total_tokens":1`, none: true},
		"broken off after":            {text: `{"usage":{"total_tokens":12,"x":`, want: 12},
		"not JSON":                    {text: `<html>{"usage":{"total_tokens":1}}`, none: true},
		"not JSON after it":           {text: `{"usage":{"total_tokens":1}}<`, want: 1},
		"a missing comma":             {text: `{"a":1 "usage":{"total_tokens":1}}`, none: true},
		"a closing comma":             {text: `{"a":[1,],"usage":{"total_tokens":1}}`, none: true},
		"a wrong end":                 {text: `{"a":[1},"usage":{"total_tokens":1}}`, none: true},
		"a wrong escape":              {text: `{"a":"\x","usage":{"total_tokens":1}}`, none: true},
		"a wrong unit":                {text: `{"a":"\u00g0","usage":{"total_tokens":1}}`, none: true},
		"a control character":         {text: "{\"a\":\"\x01\",\"usage\":{\"total_tokens\":1}}", none: true},
		"a long number":               {text: `{"usage":{"total_tokens":` + strings.Repeat("1", maxNumber+1) + `}}`, none: true},
		"no number":                   {text: `{"usage":{"total_tokens":1.e}}`, none: true},
		"nested up to the bound":      {text: `{"a":` + deep[1:len(deep)-1] + `,"usage":{"total_tokens":1}}`, want: 1},
		"nested beyond the bound":     {text: `{"a":` + deep + `,"usage":{"total_tokens":1}}`, none: true},
		"empty containers":            {text: `{"a":{},"b":[],"usage":{"total_tokens":4}}`, want: 4},
		"the last event":              {events: true, text: "data: {\"usage\":{\"total_tokens\":1}}\n\ndata: {\"usage\":{\"total_tokens\":2}}\n\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n", want: 2},
		"an event of several lines":   {events: true, text: "data: {\"usage\":\ndata: {\"total_tokens\":2}}\n\n", want: 2},
		"an event without a space":    {events: true, text: "data:{\"usage\":{\"total_tokens\":2}}\n\n", want: 2},
		"events with CRLF":            {events: true, text: "data: [DONE\r\n\r\ndata: {\"usage\":{\"total_tokens\":2}}\r\n\r\n", want: 2},
		"lines of an event with CRLF": {events: true, text: "data: {\"usage\":\r\ndata: {\"total_tokens\":2}}\r\n\r\n", want: 2},
		"in another object twice":     {text: `{"usage":{"x":1},"b":{"c":{}},"usage":{"y":{},"total_tokens":2}}`, want: 2},
		"events with CR":              {events: true, text: "data: [DONE\r\rdata: {\"usage\":{\"total_tokens\":2}}\r\r", want: 2},
		"a comment and other fields":  {events: true, text: ": {\"usage\":{\"total_tokens\":9}}\nid: {\"usage\":{\"total_tokens\":8}}\ndatas: {\"usage\":{\"total_tokens\":7}}\ndat: {\"usage\":{\"total_tokens\":6}}\n\n", none: true},
		"an unfinished event":         {events: true, text: "data: {\"usage\":{\"total_tokens\":2},", want: 2},
		"events that continue a text": {events: true, text: "data: {\"a\":\"\n\ndata: {\"usage\":{\"total_tokens\":2}}\n\n", want: 2},
		"no data":                     {events: true, text: "data\n\n", none: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 3} {
				got, found := scan(path, tt.text, tt.events, n)
				if found == tt.none || got != tt.want {
					t.Errorf("pieces of %d: %d, %v; want %d, %v", n, got, found, tt.want, !tt.none)
				}
			}
		})
	}
}

func TestOneName(t *testing.T) {
	if got, ok := scan("cost", `{"a":{"cost":1},"cost":7}`, false, 0); got != 7 || !ok {
		t.Errorf("%d, %v; want 7", got, ok)
	}
}

// TestMemoryIsConstant: no body makes the scanner allocate.
func TestMemoryIsConstant(t *testing.T) {
	s, piece := New([]string{"a", "b"}), []byte(`[[[{"a":"`+strings.Repeat("x", 1<<16)+`"}]]],`)
	s.Write([]byte(`{"x":[`))
	if n := testing.AllocsPerRun(20, func() { s.Write(piece) }); n != 0 || s.state == failed {
		t.Errorf("%v allocations, state %d", n, s.state)
	}
}

// FuzzScanner compares the scanner with encoding/json, and pieces with the whole.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"usage":{"total_tokens":12}}`, `{"\u0075sage":{"total_tokens":1.5}}`, `[{"usage":[1]}]`, `{"a":"\\\"","usage":{"total_tokens":-1}}`,
		"data: {\"usage\":{\"total_tokens\":2}}\r\n\r\n", `{"usage":{"total_tokens":1e999}}`, `{"usage":{"x":{}},"usage":null}`,
		`{"usage":{"x":{}},"b":{"total_tokens":1},"usage":{"usage":[{"total_tokens":2}],"total_tokens":3}}`,
	} {
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		for _, events := range []bool{false, true} {
			whole, found := scan("usage.total_tokens", text, events, 0)
			if cost, ok := scan("usage.total_tokens", text, events, int(n%16)+1); cost != whole || ok != found {
				t.Fatalf("in pieces %d, %v; whole %d, %v", cost, ok, whole, found)
			}
			if whole < 0 || whole > MaxCost {
				t.Fatalf("cost %d", whole)
			}
		}
		if !json.Valid([]byte(text)) || strings.Count(text, "[")+strings.Count(text, "{") >= maxDepth {
			return
		}
		want := -1
		read(t, json.NewDecoder(strings.NewReader(text)), []string{"usage", "total_tokens"}, &want)
		if got, found := scan("usage.total_tokens", text, false, 0); found != (want >= 0) || found && got != want {
			t.Fatalf("%q: %d, %v; encoding/json finds %d", text, got, found, want)
		}
	})
}

// read reads the next value of d. It sets cost to the last number under the path; a nil path is not followed.
func read(t *testing.T, d *json.Decoder, path []string, cost *int) {
	d.UseNumber()
	next := func() json.Token {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	switch token := next().(type) {
	case json.Number:
		if n, ok := Number([]byte(token)); ok && path != nil && len(path) == 0 {
			*cost = n
		}
	case json.Delim:
		for d.More() {
			var rest []string
			if token == '{' {
				if name := next(); len(path) > 0 && name == path[0] {
					rest = path[1:]
				}
			}
			read(t, d, rest, cost)
		}
		next()
	}
}
