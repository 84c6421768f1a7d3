package compile_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestSuspectValues has each warning both ways: the value that is almost certainly wrong, and the nearest that is right.
func TestSuspectValues(t *testing.T) {
	const provider = `jwt: {providers: [{name: a, issuer: "ISSUER", audiences: [x], algorithms: [RS256], jwks: {uri: "https://i/keys"}, from: [FROM]}]}`
	issuer := func(s string) string { return strings.NewReplacer("ISSUER", s, "FROM", "").Replace(provider) }
	from := func(s string) string { return strings.NewReplacer("ISSUER", "https://i", "FROM", s).Replace(provider) }
	const tokens = `tokens: {issuer: "https://i", audiences: [x], signingKey: {secretKeyRef: {name: a, key: b}}, `
	tests := map[string]struct {
		wrong, right string
		// class is a SidecarClass's spec for right alone.
		class string
		// field and message are of the warning that wrong gets and right does not.
		field, message string
	}{
		"an issuer with a wildcard": {
			wrong: issuer("https://*.example.com"), right: issuer("https://a.example.com"),
			field: "spec.jwt.providers[0].issuer", message: "* is no wildcard",
		},
		"an issuer with a placeholder": {
			wrong: issuer("https://login.microsoftonline.com/{tenantid}/v2.0"), right: issuer("https://login.microsoftonline.com/9122040d/v2.0"),
			field: "spec.jwt.providers[0].issuer", message: "placeholder",
		},
		"an issuer that ends in a space": {
			wrong: issuer("https://i.example "), right: issuer("https://i.example"),
			field: "spec.jwt.providers[0].issuer", message: `write "https://i.example"`,
		},
		"an issuer that begins with a space": {
			wrong: issuer(" https://i.example"), right: issuer("https://i.example/"),
			field: "spec.jwt.providers[0].issuer", message: `write "https://i.example"`,
		},
		"a path with a placeholder, in a rule": {
			wrong: `authorization: {rules: [{name: a, match: [{paths: ["/orders/{id}/lines"]}], require: Anonymous}]}`,
			right: `authorization: {rules: [{name: a, match: [{paths: ["/orders/*/lines"]}], require: Anonymous}]}`,
			field: "spec.authorization.rules[0].match[0].paths[0]", message: `as "/orders/*/lines"`,
		},
		"a path with a placeholder, in a limit": {
			wrong: `rateLimits: [{name: a, limit: 5/minute, match: [{paths: ["/x", "/orders/{id}"]}]}]`,
			right: `rateLimits: [{name: a, limit: 5/minute, match: [{paths: ["/x", "/orders/{"]}]}]`,
			field: "spec.rateLimits[0].match[0].paths[1]", message: `as "/orders/*"`,
		},
		"a path with a placeholder, of a login": {
			wrong: tokens + `login: [{paths: ["/{realm}/login"]}]}`, right: tokens + `login: [{paths: ["/*/login"]}]}`,
			field: "spec.tokens.login[0].paths[0]", message: `as "/*/login"`,
		},
		"a mistyped method, in a rule": {
			wrong: `authorization: {rules: [{name: a, match: [{methods: [GET, GETX]}], require: Anonymous}]}`,
			right: `authorization: {rules: [{name: a, match: [{methods: [GET, PROPFIND]}], require: Anonymous}]}`,
			field: "spec.authorization.rules[0].match[0].methods[1]", message: `"GETX" is not a registered method`,
		},
		"a method that is always refused": {
			wrong: `authorization: {rules: [{name: a, match: [{methods: [TRACE]}], require: Anonymous}]}`,
			right: `authorization: {rules: [{name: a, match: [{methods: [PURGE]}], require: Anonymous}]}`,
			field: "spec.authorization.rules[0].match[0].methods[0]", message: "refuses every TRACE request",
		},
		"a mistyped method, in a limit": {
			wrong: `rateLimits: [{name: a, limit: 5/minute, match: [{methods: [PSOT]}]}]`,
			right: `rateLimits: [{name: a, limit: 5/minute, match: [{methods: [POST]}]}]`,
			field: "spec.rateLimits[0].match[0].methods[0]", message: "write GET, HEAD",
		},
		"a mistyped method, of other origins": {
			wrong: `cors: {allowOrigins: ["https://a.example"], allowMethods: [DELET]}`, right: `cors: {allowOrigins: ["https://a.example"], allowMethods: ["*"]}`,
			field: "spec.cors.allowMethods[0]", message: "write GET, HEAD",
		},
		"a mistyped method, of a login": {
			wrong: tokens + `login: [{paths: ["/login"], methods: [POSTS]}]}`, right: tokens + `login: [{paths: ["/login"], methods: [POST]}]}`,
			field: "spec.tokens.login[0].methods[0]", message: "write GET, HEAD",
		},
		"any name under a public suffix": {
			wrong: `cors: {allowOrigins: ["https://a.example", "https://*.github.io"]}`, right: `cors: {allowOrigins: ["https://a.example", "https://*.shop.github.io"]}`,
			field: "spec.cors.allowOrigins[1]", message: "anybody can register a name under github.io",
		},
		"a prefix without its space": {
			wrong: from(`{header: Authorization, prefix: Bearer}`), right: from(`{header: Authorization, prefix: "Bearer "}`),
			field: "spec.jwt.providers[0].from[0].prefix", message: `write "Bearer "`,
		},
		"a prefix with a separator of its own": {
			wrong: from(`{header: X-Token, prefix: token}`), right: from(`{header: X-Token, prefix: "token="}`),
			field: "spec.jwt.providers[0].from[0].prefix", message: `write "token "`,
		},
		"a scope as a whole": {
			wrong: strings.Replace(from(`{header: X-Token}`), "from:", `requiredClaims: [{claim: scope, values: [orders:read]}], from:`, 1),
			right: strings.Replace(from(`{header: X-Token}`), "from:", `requiredClaims: [{claim: scope, members: {any: [orders:read]}}], from:`, 1),
			field: "spec.jwt.providers[0].requiredClaims[0].values", message: "members: {any: [orders:read]}",
		},
		"a claim of nobody, in an expression": {
			wrong: `authorization: {rules: [{name: a, match: [{}], require: Anonymous, expression: 'request.method == "GET" && claims.tenant == "acme"'}]}`,
			right: `authorization: {rules: [{name: a, match: [{}], require: Anonymous, expression: '!has(claims.tenant) || claims.tenant == "acme"'}]}`,
			field: "spec.authorization.rules[0].require", message: "write require: Authenticated",
		},
		"a limit by the header of API keys": {
			wrong: `{apiKeys: {keysRef: {secretKeyRef: {name: k, key: k}}}, rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Header, name: x-api-key}]}]}`,
			right: `rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Header, name: x-api-key}]}]`,
			field: "spec.rateLimits[0].keyBy[0]", message: "write {type: Subject}",
		},
		"a limit by the header of tokens": {
			wrong: `{` + from(`{header: X-Token}`) + `, rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Header, name: x-token}]}]}`,
			right: `{` + from(`{header: X-Token}`) + `, rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Header, name: x-tenant}]}]}`,
			field: "spec.rateLimits[0].keyBy[0]", message: "write {type: Subject}",
		},
		"a limit by address, without trusted proxies": {
			wrong: `rateLimits: [{name: a, limit: 5/minute}]`, right: `rateLimits: [{name: a, limit: 5/minute}]`, class: `trustedProxies: [10.0.0.0/8]`,
			field: "spec.rateLimits[0].keyBy", message: "spec.trustedProxies of the SidecarClass",
		},
		"exempt addresses, without trusted proxies": {
			wrong: `rateLimits: [{name: a, limit: 5/minute, exempt: {clientAddresses: [10.0.0.0/8]}}]`,
			right: `rateLimits: [{name: a, limit: 5/minute, exempt: {clientAddresses: [10.0.0.0/8]}}]`, class: `trustedProxies: [10.1.0.0/16]`,
			field: "spec.rateLimits[0].exempt.clientAddresses", message: "all its clients are exempt",
		},
		"a limit by address and header, without trusted proxies": {
			wrong: `rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Route}]}, {name: b, limit: 5/minute, keyBy: [{type: Route}, {type: ClientAddress}]}]`,
			right: `rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Route}]}]`,
			field: "spec.rateLimits[1].keyBy", message: "spec.trustedProxies of the SidecarClass",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found := func(f compile.Finding) bool {
				return f.Severity == compile.Warning && f.Field == tt.field && strings.Contains(f.Message, tt.message)
			}
			wrong := findings(t, tt.wrong, "")
			if compile.HasErrors(wrong) || !slices.ContainsFunc(wrong, found) {
				t.Errorf("%s\ngets %v; want a warning at %s that says %q", tt.wrong, wrong, tt.field, tt.message)
			}
			right := findings(t, tt.right, tt.class)
			if slices.ContainsFunc(right, func(f compile.Finding) bool { return f.Field == tt.field }) {
				t.Errorf("%s\ngets %v; want nothing at %s", tt.right, right, tt.field)
			}
		})
	}
}

// TestAClassThatIsNotAtHand: nothing is said of what it leaves out.
func TestAClassThatIsNotAtHand(t *testing.T) {
	policy := &v1alpha1.SecurityPolicy{Spec: v1alpha1.SecurityPolicySpec{RateLimits: []v1alpha1.RateLimit{{Name: "a", Limit: "5/minute"}}}}
	if _, found := compile.Compile(policy, &v1alpha1.SidecarClass{}); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
}

func findings(t *testing.T, spec, class string) []compile.Finding {
	t.Helper()
	policy, sidecars := &v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}
	if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(class), &sidecars.Spec); err != nil {
		t.Fatal(err)
	}
	policy.Namespace, policy.Name, sidecars.Name = "shop", "orders", "default"
	_, out := compile.Compile(policy, sidecars)
	return out
}
