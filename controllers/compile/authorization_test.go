package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// ruled returns a policy with one rule.
func ruled(rest string) string {
	return `{jwt: {providers: [{name: corp, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://i/keys"}, from: [{header: X-Token}]}]},
authorization: {rules: [{name: a, match: [{paths: [/a]}], ` + rest + `}]}}`
}

// TestConditionsAreJudged: a condition that no request could meet as it is meant is refused, with what to write.
func TestConditionsAreJudged(t *testing.T) {
	const rule = "spec.authorization.rules[0]"
	long := strings.Repeat("s", 120)
	tests := map[string]struct {
		rule string
		want refusal
	}{
		"a claim in JSONPath":             {`claims: [{claim: "$.roles", any: [a]}]`, refusal{rule + ".claims[0].claim", "write a dotted path"}},
		"a claim of any value":            {`claims: [{claim: roles}]`, refusal{rule + ".claims[0]", "for example any: [admin]"}},
		"an empty member":                 {`claims: [{claim: roles, all: [""]}]`, refusal{rule + ".claims[0].all[0]", "for example admin"}},
		"scopes that are none":            {`scopes: {}`, refusal{rule + ".scopes", "for example all: [orders:write]"}},
		"two scopes in one entry":         {`scopes: {all: [orders:read orders:write]}`, refusal{rule + ".scopes.all[0]", "[orders:read, orders:write]"}},
		"a scope with a quote":            {`scopes: {any: ['a"b']}`, refusal{rule + ".scopes.any[0]", "without quotes"}},
		"a scope with a backslash":        {`scopes: {any: ['a\b']}`, refusal{rule + ".scopes.any[0]", "without quotes"}},
		"a scope beyond ASCII":            {`scopes: {any: [bücher]}`, refusal{rule + ".scopes.any[0]", "printable ASCII"}},
		"a scope with a line break":       {`scopes: {any: ["a\r\nX-A: b"]}`, refusal{rule + ".scopes.any[0]", ""}},
		"scopes too long for a header":    {`scopes: {any: [` + strings.Repeat(long+",", 10) + `]}`, refusal{rule + ".scopes", "at most 1024 bytes"}},
		"an unknown provider":             {`providers: [partner]`, refusal{rule + ".providers[0]", "write one of corp"}},
		"the own provider without tokens": {`providers: [postern]`, refusal{rule + ".providers[0]", "write one of corp"}},
		"a network that is none":          {`clientAddresses: [10.0.0]`, refusal{rule + ".clientAddresses[0]", "for example 10.0.0.0/8"}},
		"a network with bits of a host":   {`clientAddresses: [10.1.2.3/8]`, refusal{rule + ".clientAddresses[0]", "write 10.0.0.0/8 for the network, or 10.1.2.3 for the one address"}},
		"a network that is too long":      {`notClientAddresses: [10.0.0.0/33]`, refusal{rule + ".notClientAddresses[0]", "for example 10.0.0.0/8"}},
		"an address with a zone":          {`notClientAddresses: ["fe80::1%eth0"]`, refusal{rule + ".notClientAddresses[0]", "for example"}},
		"a network with a zone":           {`notClientAddresses: ["fe80::%eth0/64"]`, refusal{rule + ".notClientAddresses[0]", "for example"}},
		"an octal address":                {`clientAddresses: [010.0.0.1]`, refusal{rule + ".clientAddresses[0]", "for example"}},
		"a mapped network of everything":  {`clientAddresses: ["::ffff:0:0/90"]`, refusal{rule + ".clientAddresses[0]", ""}},
		"a host with a scheme":            {`hosts: ["https://a.example"]`, refusal{rule + ".hosts[0]", "for example shop.example.com"}},
		"a host with a port":              {`hosts: ["a.example:80"]`, refusal{rule + ".hosts[0]", "the port"}},
		"a host with a path":              {`hosts: [a.example/b]`, refusal{rule + ".hosts[0]", "the path"}},
		"a host with a star in it":        {`hosts: ["a.*.example"]`, refusal{rule + ".hosts[0]", "write for example *.example.com"}},
		"a star alone":                    {`hosts: ["*"]`, refusal{rule + ".hosts[0]", "write for example *.example.com"}},
		"a host beyond ASCII":             {`hosts: [bücher.example]`, refusal{rule + ".hosts[0]", "xn--"}},
		"a host with the root's dot":      {`hosts: [a.example.]`, refusal{rule + ".hosts[0]", "for example shop.example.com"}},
		"an IPv6 host":                    {`hosts: ["[::1]"]`, refusal{rule + ".hosts[0]", "IPv6 addresses cannot be"}},
		"the host as a header":            {`headers: [{name: host, values: [a]}]`, refusal{rule + ".headers[0].name", "write hosts"}},
		"credentials as a header":         {`headers: [{name: authorization, prefix: a}]`, refusal{rule + ".headers[0].name", "write claims, scopes or providers"}},
		"cookies as a header":             {`headers: [{name: Cookie, prefix: a}]`, refusal{rule + ".headers[0].name", "write claims, scopes or providers"}},
		"the header of the token":         {`headers: [{name: x-token, present: true}]`, refusal{rule + ".headers[0].name", "the provider corp reads its token from X-Token"}},
		"addresses as a header":           {`headers: [{name: X-Forwarded-For, prefix: "10."}]`, refusal{rule + ".headers[0].name", "write clientAddresses"}},
		"a header of the connection":      {`headers: [{name: Keep-Alive, present: true}]`, refusal{rule + ".headers[0].name", "one connection"}},
		"a header that is removed":        {`headers: [{name: X-Original-URL, present: true}]`, refusal{rule + ".headers[0].name", "choose another header"}},
		"a header of the sidecar":         {`headers: [{name: Postern-Subject, present: true}]`, refusal{rule + ".headers[0].name", "choose another header"}},
		"a header with an underscore":     {`headers: [{name: X_Env, present: true}]`, refusal{rule + ".headers[0].name", "X-Env"}},
		"a header without a condition":    {`headers: [{name: X-Env}]`, refusal{rule + ".headers[0]", "exactly one of values, prefix and present"}},
		"a header with two conditions":    {`headers: [{name: X-Env, values: [a], present: true}]`, refusal{rule + ".headers[0]", "exactly one of values, prefix and present"}},
		"an empty value":                  {`headers: [{name: X-Env, values: [""]}]`, refusal{rule + ".headers[0].values[0]", "present: false"}},
		"a value with a space before it":  {`headers: [{name: X-Env, values: [" a"]}]`, refusal{rule + ".headers[0].values[0]", `write "a"`}},
		"a value with a space behind it":  {`headers: [{name: X-Env, values: ["a "]}]`, refusal{rule + ".headers[0].values[0]", `write "a"`}},
		"a value with a line break":       {`headers: [{name: X-Env, values: ["a\nb"]}]`, refusal{rule + ".headers[0].values[0]", "control character"}},
		"Deny with a condition":           {`require: Deny, clientAddresses: [10.0.0.0/8]`, refusal{rule + ".require", "remove them"}},
		"Deny with an expression":         {`require: Deny, expression: "true"`, refusal{rule + ".require", "remove them"}},
		"Anonymous with scopes":           {`require: Anonymous, scopes: {any: [a]}`, refusal{rule + ".require", "write require: Authenticated"}},
		"Anonymous with claims":           {`require: Anonymous, claims: [{claim: a, any: [b]}]`, refusal{rule + ".require", "write require: Authenticated"}},
		"Anonymous with providers":        {`require: Anonymous, providers: [corp]`, refusal{rule + ".require", "write require: Authenticated"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var spec v1alpha1.SecurityPolicySpec
			if err := yaml.UnmarshalStrict([]byte(ruled(tt.rule)), &spec); err != nil {
				t.Fatal(err)
			}
			mustRefuse(t, &spec, tt.want)
		})
	}
}

// TestConditionsAreAccepted: what is unusual but means something is accepted.
func TestConditionsAreAccepted(t *testing.T) {
	for name, rule := range map[string]string{
		"a member with a space":         `claims: [{claim: groups, any: [Domain Admins]}]`,
		"a claim that is a URL":         `claims: [{claim: "https://example.com/roles", any: [admin]}]`,
		"an address":                    `clientAddresses: [192.0.2.7, "2001:db8::1"]`,
		"a mapped address":              `clientAddresses: ["::ffff:192.0.2.7", "::ffff:10.0.0.0/104"]`,
		"hosts in upper case":           `hosts: [Shop.Example.Com, "*.Example.com", localhost, 192.0.2.7]`,
		"a prefix with a space":         `headers: [{name: X-Env, prefix: "a "}]`,
		"a header that a proxy sets":    `headers: [{name: X-Forwarded-Proto, values: [https]}]`,
		"the same header twice":         `headers: [{name: X-Env, prefix: a}, {name: X-Env, present: true}]`,
		"a rule without a requirement":  `scopes: {all: [a]}`,
		"Anonymous with addresses":      `require: Anonymous, notClientAddresses: [10.0.0.0/8]`,
		"a header that carries a claim": `headers: [{name: X-Auth-Subject, present: true}]`,
	} {
		t.Run(name, func(t *testing.T) {
			if out := findings(t, ruled(rule), `trustedProxies: [192.0.2.0/24]`); len(out) > 0 {
				t.Errorf("%s: %v", rule, out)
			}
		})
	}
}

// TestAddressesWithoutTrustedProxies: behind an ingress, a rule for addresses of the cluster would let everybody pass.
func TestAddressesWithoutTrustedProxies(t *testing.T) {
	for name, rule := range map[string]string{"clientAddresses": `clientAddresses: [10.0.0.0/8]`, "notClientAddresses": `notClientAddresses: [10.0.0.0/8]`} {
		found := func(f compile.Finding) bool {
			return f.Severity == compile.Warning && f.Field == "spec.authorization.rules[0]."+name && strings.Contains(f.Message, "trustedProxies")
		}
		if out := findings(t, ruled(rule), ""); !slices.ContainsFunc(out, found) {
			t.Errorf("%s without trusted proxies: %v", name, out)
		}
		if out := findings(t, ruled(rule), `trustedProxies: [192.0.2.0/24]`); len(out) > 0 {
			t.Errorf("%s with trusted proxies: %v", name, out)
		}
	}
}

// TestUnreachableRuleWarns: the policy is accepted, with a warning that lint, admission and status show.
func TestUnreachableRuleWarns(t *testing.T) {
	out := findings(t, `{authorization: {rules: [{name: all, match: [{paths: [/orders/**]}], require: Anonymous}, {name: one, match: [{paths: [/orders/*/refund]}], require: Deny}]}}`, "")
	if compile.HasErrors(out) || len(out) != 1 || !strings.Contains(fmt.Sprint(out), `spec.authorization.rules[1]: never applies, because rule "all" before it`) {
		t.Errorf("findings: %v", out)
	}
}
