package expression_test

import (
	"testing"

	"github.com/posterndev/postern/api/check/expression"
)

// TestAnonymous: which expressions may hold for a request without claims. What Anonymous excludes, no evaluation contradicts.
func TestAnonymous(t *testing.T) {
	for text, want := range map[string]bool{
		`claims.tenant == "a"`:                                               false,
		`claims["tenant"] == "a"`:                                            false,
		`claims.a.b == "a"`:                                                  false,
		`has(claims.tenant)`:                                                 false,
		`"tenant" in claims`:                                                 false,
		`has(claims.a.b)`:                                                    false,
		`!has(claims.a.b)`:                                                   false,
		`request.method == "GET" && claims.tenant == "a"`:                    false,
		`claims.tenant == request.headers["x-tenant"]`:                       false,
		`request.headers["x-tenant"] in claims.tenants`:                      false,
		`claims.tenants.exists(x, x == "a")`:                                 false,
		`claims.tenant.startsWith("a")`:                                      false,
		`[claims.tenant].exists(x, x == "a")`:                                false,
		`!(claims.tenant == "a")`:                                            false,
		`claims.tenant == "a" ? true : true`:                                 false,
		`(request.method == "GET" && claims.admin) == false`:                 true,
		`request.method == "GET"`:                                            true,
		`request.method == "GET" || claims.tenant == "a"`:                    true,
		`!has(claims.tenant) || claims.tenant == "a"`:                        true,
		`!("tenant" in claims)`:                                              true,
		`has(claims.tenant) ? claims.tenant == "a" : true`:                   true,
		`has(claims.tenant) ? true : claims.tenant == "a"`:                   false,
		`!(request.method == "GET" && claims.tenant == "a")`:                 true,
		`size(claims) == 0`:                                                  true,
		`request.segments.exists(s, s == claims.tenant)`:                     true,
		`request.method == "GET" ? claims.tenant == "a" : has(claims.admin)`: false,
	} {
		p, err := expression.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := p.Anonymous(); got != want {
			t.Errorf("%s: %t; want %t", text, got, want)
		}
		for _, method := range []string{"GET", "POST"} {
			holds, err := p.Eval(&expression.Input{Method: method, Segments: []string{"a"}, Headers: map[string][]string{"X-Tenant": {"a"}}})
			if holds && !want {
				t.Errorf("%s: it holds for %s, %v", text, method, err)
			}
		}
	}
}
