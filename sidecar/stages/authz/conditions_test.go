package authz

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// decideWith sends a request through a stage with these rules, and returns its refusal; nil if it passes.
func decideWith(t *testing.T, rules []Rule, r *http.Request, info *request.Info) *httperr.Error {
	t.Helper()
	build, err := New(Config{Default: Deny, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	passed := false
	h := build(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
	err = h.ServeHTTP(httptest.NewRecorder(), request.With(r, info))
	var refusal *httperr.Error
	if errors.As(err, &refusal); passed != (err == nil) || (err != nil) != (refusal != nil) {
		t.Fatalf("passed %v with %v", passed, err)
	}
	return refusal
}

func everything(t *testing.T) *route.Matcher {
	t.Helper()
	return matcher(t, route.Match{Paths: []string{"/**"}})
}

// TestConditionKinds: the log says which kind of condition does not hold, in the order of evaluation, and the client does not learn it.
func TestConditionKinds(t *testing.T) {
	all := Conditions{
		Claims: []Claim{{Path: "tenant", Members: identity.Members{All: []string{"acme"}}}}, Scopes: &identity.Members{All: []string{"orders:write"}},
		Providers: []string{"corp"}, ClientAddresses: []string{"10.0.0.0/8"}, NotClientAddresses: []string{"10.66.0.0/16"}, Hosts: []string{"shop.example.com"},
		Headers:    []Header{{Name: "x-env", Values: []string{"staging"}}},
		Expression: func(r *http.Request, _ *request.Info) (bool, error) { return r.URL.RawQuery == "good", nil },
	}
	type sent struct {
		provider, scope, tenant, addr, host, env, query string
	}
	good := sent{"corp", "orders:write", "acme", "10.0.0.1", "shop.example.com", "staging", "good"}
	tests := map[string]struct {
		change   func(*sent)
		want     string
		wantCode httperr.Code
	}{
		"all hold":                    {change: func(*sent) {}},
		"provider":                    {change: func(s *sent) { s.provider = "partner" }, want: "providers", wantCode: "access-denied"},
		"address":                     {change: func(s *sent) { s.addr = "192.0.2.1" }, want: "clientAddresses", wantCode: "access-denied"},
		"other address":               {change: func(s *sent) { s.addr = "10.66.0.1" }, want: "notClientAddresses", wantCode: "access-denied"},
		"host":                        {change: func(s *sent) { s.host = "other" }, want: "hosts", wantCode: "access-denied"},
		"header":                      {change: func(s *sent) { s.env = "prod" }, want: "headers", wantCode: "access-denied"},
		"claim":                       {change: func(s *sent) { s.tenant = "other" }, want: "claims", wantCode: "access-denied"},
		"scope":                       {change: func(s *sent) { s.scope = "orders:read" }, want: "scopes", wantCode: "insufficient-scope"},
		"expression":                  {change: func(s *sent) { s.query = "bad" }, want: "expression", wantCode: "access-denied"},
		"scopes before an expression": {change: func(s *sent) { s.scope, s.query = "", "bad" }, want: "scopes", wantCode: "insufficient-scope"},
		"claims before scopes":        {change: func(s *sent) { s.scope, s.tenant = "", "other" }, want: "claims", wantCode: "access-denied"},
		"everything":                  {change: func(s *sent) { *s = sent{addr: "192.0.2.1"} }, want: "providers", wantCode: "access-denied"},
	}
	for name, tt := range tests {
		for _, shadow := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := good
				tt.change(&s)
				r := httptest.NewRequest("GET", "/a?"+s.query, nil)
				r.Host = s.host
				r.Header.Set("X-Env", s.env)
				info := &request.Info{Path: "/a", ClientAddr: netip.MustParseAddr(s.addr), Identity: &identity.Identity{
					Provider: s.provider, Claims: map[string]any{"scope": s.scope, "tenant": s.tenant},
				}}
				refusal := decideWith(t, []Rule{{Name: "all", Match: everything(t), Require: Authenticated, Conditions: all, Shadow: shadow}}, r, info)
				if shadow && refusal != nil {
					t.Errorf("%v in shadow mode", refusal)
				}
				if tt.want == "" {
					if refusal != nil || len(info.Decisions) > 0 {
						t.Errorf("%v with %+v; want it to pass", refusal, info.Decisions)
					}
					return
				}
				if !shadow && (refusal == nil || refusal.Status != 403 || refusal.Code != tt.wantCode) {
					t.Errorf("%v; want a 403 with %s", refusal, tt.wantCode)
				}
				if len(info.Decisions) != 1 || info.Decisions[0].Condition != tt.want || info.Decisions[0].Rule != "all" || info.Decisions[0].Shadow != shadow || info.Decisions[0].Err.Code != tt.wantCode {
					t.Errorf("%+v; want one of the rule all with the condition %s, in shadow mode: %v", info.Decisions, tt.want, shadow)
				}
			})
		}
	}
}

// TestConditionsFailClosed: what cannot be decided does not hold.
func TestConditionsFailClosed(t *testing.T) {
	present, absent := true, false
	claims := []Claim{{Path: "a", Members: identity.Members{Any: []string{"b"}}}}
	tests := map[string]Conditions{
		"an unknown address":                     {ClientAddresses: []string{"0.0.0.0/0", "::/0"}},
		"an unknown address that must not be":    {NotClientAddresses: []string{"10.0.0.0/8"}},
		"no host":                                {Hosts: []string{"localhost"}},
		"no header":                              {Headers: []Header{{Name: "X-A", Present: &present}}},
		"an empty header that must not be":       {Headers: []Header{{Name: "X-Empty", Present: &absent}}},
		"a scope that is a number":               {Scopes: &identity.Members{All: []string{"7"}}},
		"no claims":                              {Claims: claims},
		"no scope":                               {Scopes: &identity.Members{Any: []string{"b"}}},
		"no provider":                            {Providers: []string{"corp"}},
		"an expression that does not hold":       {Expression: func(*http.Request, *request.Info) (bool, error) { return false, nil }},
		"an expression that cannot be evaluated": {Expression: func(*http.Request, *request.Info) (bool, error) { return true, errors.New("no such key: tenant") }},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/a", nil)
			r.Host = ""
			r.Header.Set("X-Empty", "")
			refusal := decideWith(t, []Rule{{Name: "a", Match: everything(t), Require: Authenticated, Conditions: c}}, r, &request.Info{
				Path: "/a", Identity: &identity.Identity{Claims: map[string]any{"scope": json.Number("7")}},
			})
			if refusal == nil || refusal.Status != http.StatusForbidden {
				t.Errorf("%v; want 403", refusal)
			}
		})
	}
	// A rule that lets anonymous requests pass evaluates its conditions for them.
	for name, want := range map[string]bool{"holds": true, "fails": false} {
		c := Conditions{Expression: func(_ *http.Request, info *request.Info) (bool, error) { return info.Identity == nil && want, nil }}
		refusal := decideWith(t, []Rule{{Name: "a", Match: everything(t), Require: Anonymous, Conditions: c}}, httptest.NewRequest("GET", "/a", nil), &request.Info{Path: "/a"})
		if (refusal == nil) != want {
			t.Errorf("an expression that %s for an anonymous request: %v", name, refusal)
		}
	}
}

// TestAddressForms: an address is compared without its zone, and an IPv4 address as such.
func TestAddressForms(t *testing.T) {
	c := Conditions{ClientAddresses: []string{"10.0.0.0/8", "fe80::/64"}}
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%eth0": true, "::ffff:192.0.2.1": false, "fe80:1::1%eth0": false} {
		info := &request.Info{Path: "/a", ClientAddr: netip.MustParseAddr(addr)}
		refusal := decideWith(t, []Rule{{Name: "a", Match: everything(t), Require: Anonymous, Conditions: c}}, httptest.NewRequest("GET", "/a", nil), info)
		if (refusal == nil) != want {
			t.Errorf("%s: %v; want it to pass: %v", addr, refusal, want)
		}
	}
}

// TestExpressionErrorsAreLogged: the log has the cause, and the client does not.
func TestExpressionErrorsAreLogged(t *testing.T) {
	c := Conditions{Expression: func(*http.Request, *request.Info) (bool, error) { return false, errors.New("no such key: tenant") }}
	refusal := decideWith(t, []Rule{{Name: "a", Match: everything(t), Require: Anonymous, Conditions: c}}, httptest.NewRequest("GET", "/a", nil), &request.Info{Path: "/a"})
	if refusal == nil || refusal.Cause == nil || refusal.Cause.Error() != "no such key: tenant" || strings.Contains(refusal.Detail, "tenant") {
		t.Errorf("%+v; want the cause for the log alone", refusal)
	}
}

// TestConditionsOfReadings: the conditions of the rule of every reading must hold.
func TestConditionsOfReadings(t *testing.T) {
	rules := []Rule{
		{Name: "admin", Match: matcher(t, route.Match{Paths: []string{"/admin/**"}}), Require: Authenticated, Conditions: Conditions{Scopes: &identity.Members{All: []string{"admin"}}}},
		{Name: "rest", Match: everything(t), Require: Anonymous},
	}
	reader, err := route.NewReader(route.Options{EncodedSlash: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for scope, want := range map[string]httperr.Code{"user": "insufficient-scope", "admin": ""} {
		path, err := reader.Read("/admin%2Fusers")
		if err != nil {
			t.Fatal(err)
		}
		info := &request.Info{Path: path.Path, Readings: path.Target, Identity: &identity.Identity{Claims: map[string]any{"scope": scope}}}
		refusal := decideWith(t, rules, httptest.NewRequest("GET", "/", nil), info)
		if (refusal == nil) != (want == "") || refusal != nil && refusal.Code != want {
			t.Errorf("with the scope %s: %v; want %q", scope, refusal, want)
		}
	}
}

// TestConditionsThatMakeNoSense are refused when the stage is built, as by the operator.
func TestConditionsThatMakeNoSense(t *testing.T) {
	tests := map[string]struct {
		require    Requirement
		conditions Conditions
	}{
		"conditions of Deny":   {Deny, Conditions{Hosts: []string{"a"}}},
		"claims of Anonymous":  {Anonymous, Conditions{Claims: []Claim{{Path: "a", Members: identity.Members{All: []string{"b"}}}}}},
		"scopes that are none": {Authenticated, Conditions{Scopes: &identity.Members{}}},
		"a scope with a quote": {Authenticated, Conditions{Scopes: &identity.Members{All: []string{`a"`}}}},
		"a network":            {Authenticated, Conditions{ClientAddresses: []string{"10.0.0.1/8"}}},
		"a host":               {Authenticated, Conditions{Hosts: []string{"a:80"}}},
		"a header":             {Authenticated, Conditions{Headers: []Header{{Name: "X-A"}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Default: Deny, Rules: []Rule{{Name: "a", Match: everything(t), Require: tt.require, Conditions: tt.conditions}}})
			if err == nil || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%v; want an error that names the rule", err)
			}
		})
	}
}

// FuzzClaims sends tokens with any claims: a token passes only if its scope and its role are there literally, and nothing panics.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"scope":"orders:write","realm_access":{"roles":["admin"]}}`, `{"scp":["orders:write"],"realm_access.roles":"admin"}`, `{"scope":{"orders:write":1}}`,
		`{"scope":null,"scp":"orders:write","realm_access":{"roles":"admin"}}`, `{"scope":["orders:write2"],"realm_access":[["admin"]]}`, `{"realm_access":"admin"}`,
	} {
		f.Add(seed)
	}
	c := Conditions{
		Claims: []Claim{{Path: "realm_access.roles", Members: identity.Members{Any: []string{"admin"}}}}, Scopes: &identity.Members{All: []string{"orders:write"}},
	}
	compiled, err := c.compile(`"r"`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var claims map[string]any
		if decoder.Decode(&claims) != nil {
			return
		}
		refusal, _ := compiled.judge(httptest.NewRequest("GET", "/", nil), &request.Info{Identity: &identity.Identity{Claims: claims}})
		if refusal != nil {
			if refusal.Status != http.StatusForbidden {
				t.Fatalf("%v for %s", refusal, text)
			}
			return
		}
		scope, ok := claims["scope"]
		if !ok {
			scope = claims["scp"]
		}
		if !hasWord(scope, "orders:write") {
			t.Fatalf("%s passes without the scope", text)
		}
		roles, ok := claims["realm_access.roles"]
		if outer, nested := claims["realm_access"].(map[string]any); !ok && nested {
			roles = outer["roles"]
		}
		if !hasWord(roles, "admin") {
			t.Fatalf("%s passes without the role", text)
		}
	})
}

// hasWord reports whether v is a text with the word, or an array with the element.
func hasWord(v any, word string) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains(strings.Split(v, " "), word)
	case []any:
		return slices.Contains(v, any(word))
	}
	return false
}
