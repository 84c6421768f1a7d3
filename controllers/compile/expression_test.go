package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestExpressionsAreJudged: a mistake is reported at the field of the expression, with its position in the text.
func TestExpressionsAreJudged(t *testing.T) {
	const field = "spec.authorization.rules[0].expression"
	tests := map[string]struct{ expression, want string }{
		"syntax":                     {`request.method ==`, "line 1, column 18: Syntax error"},
		"an unknown name":            {"request.method == \"GET\" &&\n  request.verb == \"x\"", "line 2, column 3: undeclared reference"},
		"no condition":               {`request.method`, "it must be true or false"},
		"an example":                 {`1`, `for example claims.tenant == "acme"`},
		"the host as a header":       {`request.headers.host == "a"`, "write hosts"},
		"credentials":                {`request.headers["authorization"].startsWith("Bearer")`, "write claims, scopes or providers"},
		"the header of the token":    {`request.headers["x-token"] != ""`, "the provider corp reads its token from X-Token"},
		"addresses":                  {`request.headers["x-forwarded-for"] == "10.0.0.1"`, "write clientAddresses"},
		"a header that is removed":   {`!("x-original-url" in request.headers)`, "choose another header"},
		"a header of the connection": {`!("upgrade" in request.headers)`, "choose another header"},
		"a name in capitals":         {`!("X-Debug" in request.headers)`, `line 1, column 3: names of headers are in lower case: write "x-debug"`},
		"every header":               {`request.headers.all(h, h != "x-debug")`, "line 1, column 8: request.headers is not looked up by a name in quotes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var spec v1alpha1.SecurityPolicySpec
			if err := yaml.UnmarshalStrict([]byte(ruled(`require: Authenticated`)), &spec); err != nil {
				t.Fatal(err)
			}
			spec.Authorization.Rules[0].Expression = tt.expression
			mustRefuse(t, &spec, refusal{field, tt.want})
		})
	}
}

// TestExpressionsAreBoundedTogether: the operator, which all namespaces share, compiles them for each change of a policy and for new pods.
func TestExpressionsAreBoundedTogether(t *testing.T) {
	long := `claims.tenant == "` + strings.Repeat("a", 4000) + `"`
	build := func(rules int) *v1alpha1.SecurityPolicySpec {
		var spec v1alpha1.SecurityPolicySpec
		if err := yaml.UnmarshalStrict([]byte(ruled(`require: Authenticated`)), &spec); err != nil {
			t.Fatal(err)
		}
		for i := range rules {
			spec.Authorization.Rules = append(spec.Authorization.Rules, v1alpha1.AuthorizationRule{
				Name: fmt.Sprint("r", i), Match: []v1alpha1.RouteMatch{{Paths: []string{fmt.Sprint("/", i)}}}, AuthorizationConditions: v1alpha1.AuthorizationConditions{Expression: long},
			})
		}
		return &spec
	}
	policy := &v1alpha1.SecurityPolicy{Spec: *build(4)}
	if _, out := compile.Compile(policy, &v1alpha1.SidecarClass{}); len(out) > 0 {
		t.Errorf("four long expressions: %v", out)
	}
	mustRefuse(t, build(5), refusal{"spec.authorization.rules[5].expression", "write shorter ones"})
}

// TestExpressionsAreAccepted: an expression needs no identity.
func TestExpressionsAreAccepted(t *testing.T) {
	for _, rule := range []string{
		`expression: 'request.segments[1] != "0" && claims.tenant == request.headers["x-tenant"]'`,
		`require: Anonymous, expression: 'request.method == "GET" || has(claims.tenant)'`,
		`scopes: {any: [a]}, expression: 'request.time < timestamp("2030-01-01T00:00:00Z")'`,
	} {
		if out := findings(t, ruled(rule), ""); len(out) > 0 {
			t.Errorf("%s: %v", rule, out)
		}
	}
}
