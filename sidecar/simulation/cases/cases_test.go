package cases

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	f, err := Parse([]byte("at: 2026-01-31T12:00:00Z\ncases:\n- name: a\n  request: {path: /, headers: {A: b, C: [d, e]}}\n  expect: {headers: {X: null}}\n- name: b\n  steps:\n  - {request: {path: /}, after: 1m, expect: {status: 200}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := f.Cases[0], f.Cases[1]
	if first.Line != 3 || len(first.Steps) != 1 || first.Steps[0].Line != 3 || len(first.Request.Headers["C"]) != 2 || first.Steps[0].Repeat != 1 {
		t.Errorf("%+v", first)
	}
	if v, ok := first.Expect.Headers["X"]; !ok || v != nil {
		t.Errorf("null is not absent: %+v", first.Expect)
	}
	if second.Line != 6 || second.Steps[0].Line != 8 || second.Steps[0].After.Minutes() != 1 {
		t.Errorf("%+v", second)
	}
}

func TestParseErrors(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"unknown field":        {"cases:\n- name: a\n  requst: {}\n", "line 3: field requst not found"},
		"unknown in a request": {"cases:\n- name: a\n  request:\n    path: /\n    tokn: {}\n", "line 5: field tokn not found"},
		"unknown in a token":   {"cases:\n- name: a\n  request:\n    token:\n      own: true\n", "line 5: field own not found"},
		"unknown in expect":    {"cases:\n- name: a\n  expect:\n    reachesap: true\n", "line 4: field reachesap not found"},
		"unknown in app":       {"cases:\n- name: a\n  app: {code: 200}\n", "line 3: field code not found"},
		"unknown in a step":    {"cases:\n- name: a\n  steps:\n  - {expects: {}}\n", "line 4: field expects not found"},
		"unknown beside cases": {"at: 2026-01-31T12:00:00Z\npolicies: [a]\ncases: []\n", "line 2: field policies not found"},
		"two faults":           {"cases:\n- nam: a\n  reqest: {}\n", "line 2: field nam not found; line 3: field reqest not found"},
		"a time":               {"at: yesterday\ncases: []\n", "line 1: \"yesterday\" is not a time like 2026"},
		"a duration":           {"cases:\n- name: a\n  after: 5\n", "line 3: `5` is not a duration like 1m"},
		"a status":             {"cases:\n- name: a\n  expect: {status: abc}\n", "line 3: `abc` is not a number"},
		"a list":               {"cases: {a: b}\n", "line 1: a mapping is not a list of cases"},
		"a mapping":            {"cases:\n- name: a\n  request: /orders\n", "line 3: `/orders` is not a mapping"},
		"a field":              {"cases:\n- name: a\n  request: {headers: {A: {b: c}}}\n", "line 3: a mapping is not a text or a list of texts"},
		"repeated field":       {"cases:\n- name: a\n  name: b\n", "already"},
		"no cases":             {"cases: []\n", "0 cases"},
		"no name":              {"cases:\n- request: {path: /}\n", "no name"},
		"request and steps":    {"cases:\n- {name: a, request: {path: /}, steps: [{request: {path: /}}]}\n", "request and steps"},
		"no request":           {"cases:\n- name: a\n", "no request"},
		"null case":            {"cases:\n-\n", "line 2: a case of the list is empty"},
		"null step":            {"cases:\n- {name: a, steps: [null]}\n", "line 2: a step of the list is empty"},
		"back in time":         {"cases:\n- {name: a, after: -1s, request: {path: /}, expect: {status: 200}}\n", "cannot go back"},
		"too often":            {"cases:\n- {name: a, repeat: 10001, request: {path: /}, expect: {status: 200}}\n", "repeat"},
		"too often in all":     {"cases:\n- name: a\n  steps:\n  - &s {repeat: 9000, request: {path: /}, expect: {status: 200}}\n  - *s\n", "more than"},
		"both tokens":          {"cases:\n- {name: a, request: {path: /, token: {jwt: x, provider: y}}, expect: {status: 200}}\n", "jwt beside"},
		"informational":        {"cases:\n- {name: a, request: {path: /}, app: {status: 100}, expect: {status: 200}}\n", "final status"},
		"large":                {strings.Repeat("#", MaxSize+1), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// FuzzParse: no file panics, and a file that is accepted has only cases that can be sent.
func FuzzParse(f *testing.F) {
	f.Add([]byte("cases:\n- {name: a, request: {path: /, token: {claims: {a: [1]}}}, expect: {status: 200}}\n"))
	f.Add([]byte("cases:\n- &a {name: a, steps: [{request: {path: /}, expect: {rule: x}}]}\n- *a\n"))
	f.Add([]byte("cases:\n- <<: {name: a, steps: []}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		Is(content)
		file, err := Parse(content)
		if err != nil {
			return
		}
		for _, c := range file.Cases {
			total := 0
			for _, s := range c.Steps {
				total += s.Repeat
				if s.Request == nil || s.Request.Path == "" || s.Repeat < 1 {
					t.Errorf("accepted %+v", s)
				}
			}
			if total < 1 || total > MaxRequests || c.Name == "" {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}
