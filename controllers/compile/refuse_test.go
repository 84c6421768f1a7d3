package compile_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// refusal is the field of a spec that no sidecar runs, and a part of what the message says to write.
type refusal struct{ field, write string }

// refusals are by the name of a case in testdata/no-sidecar-runs.jsonl: specs that were once accepted.
func refusals() map[string]refusal {
	const (
		path   = "spec.authorization.rules[0].match[0].paths[0]"
		origin = "spec.cors.allowOrigins[0]"
		inline = "spec.jwt.providers[0].jwks.inline"
		set    = "spec.headers.set[0]"
		remove = "spec.headers.remove[0]"
		login  = "spec.tokens.login[0].paths[0]"
	)
	return map[string]refusal{
		"path '/admin/'":                  {path, `write "/admin"`},
		"path '/a/./b'":                   {path, "write the path without"},
		"path '/a**'":                     {path, "write /* for any one segment"},
		"path '/%41'":                     {path, `"A"`},
		"path '/a?x=1'":                   {path, `write "…/a"`},
		"path '/a;b=1'":                   {path, "write the path without"},
		"path '/aNULb'":                   {path, "remove it"},
		"path '/a/.'":                     {path, "write the path without"},
		"origin http://[:::]":             {origin, "write scheme://host"},
		"cors expose * creds":             {"spec.cors.exposeHeaders[0]", "list the names"},
		"jwks {}":                         {inline, "write a JSON Web Key Set"},
		`jwks {"keys":[{}]}`:              {inline, "write a JSON Web Key Set"},
		`jwks {"keys":[{"kty":"EC"}]}`:    {inline, "write a JSON Web Key Set"},
		"jwks null":                       {inline, "write a JSON Web Key Set"},
		"jwks private key":                {inline, "publish public keys only"},
		"jwks use enc":                    {inline, "it is for encryption (use: enc)"},
		"jwks alg RS256":                  {inline, "its alg does not fit"},
		"c2h dup case":                    {"spec.jwt.providers[0].claimsToHeaders[1].header", "choose another"},
		"limit 999999999/second":          {"spec.rateLimits[0].limit", "write at most 1000000"},
		"burst 1e6 1/31d":                 {"spec.rateLimits[0].burst", "write at most 11"},
		"header set Set-Cookie: 'a=b'":    {set + ".name", "leave it out"},
		"header set X-A: ' a '":           {set + ".value", `write "a"`},
		"header set dup case":             {"spec.headers.set[1].name", "leave one out"},
		"header remove Set-Cookie":        {remove, "leave it out"},
		"header remove Content-Type":      {remove, "leave it out"},
		"header remove Transfer-Encoding": {remove, "leave it out"},
		"tokens login /login/":            {login, `write "/login"`},
		"tokens login /login/*/":          {login, `write "/login/*"`},
		"tokens issuer https://x/%zz":     {"spec.tokens.issuer", "write for example https://"},
		"tokens issuer https://x//y":      {"spec.tokens.issuer", "write it without empty or dot segments"},
	}
}

func TestWhatNoSidecarRunsIsRefused(t *testing.T) {
	content, err := os.ReadFile("testdata/no-sidecar-runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	want, seen := refusals(), 0
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); seen++ {
		var c struct {
			Case string
			Spec v1alpha1.SecurityPolicySpec
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Case, func(t *testing.T) {
			w, ok := want[c.Case]
			if !ok {
				t.Fatal("the test does not know what the case is refused for")
			}
			mustRefuse(t, &c.Spec, w)
		})
	}
	if seen != len(want) {
		t.Errorf("%d cases; want %d", seen, len(want))
	}
}

// mustRefuse compiles under a class with a Redis and a Vault: the one thing that is wrong is in the spec.
func mustRefuse(t *testing.T, spec *v1alpha1.SecurityPolicySpec, want refusal) {
	t.Helper()
	class := read[v1alpha1.SidecarClass](t, "../../config/samples/sidecarclass.yaml")
	class.Spec.Vault = &v1alpha1.Vault{Address: "https://vault.example.com", Auth: v1alpha1.VaultAuth{Kubernetes: &v1alpha1.VaultKubernetes{Role: "postern"}}}
	p, findings := compile.Compile(&v1alpha1.SecurityPolicy{Spec: *spec}, class)
	var errs []compile.Finding
	for _, f := range findings {
		if f.Severity == compile.Error {
			errs = append(errs, f)
		}
	}
	if p != nil || len(errs) != 1 || errs[0].Field != want.field || !strings.Contains(errs[0].Message, want.write) {
		t.Errorf("document %t, errors %v; want one of %s with %q", p != nil, errs, want.field, want.write)
	}
}

// TestSiblings are like the cases above, of other fields.
func TestSiblings(t *testing.T) {
	const provider = `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k"}`
	const tokens = `tokens: {issuer: "https://a.example", audiences: [x], signingKey: {secretKeyRef: {name: a, key: k}}`
	tests := map[string]struct {
		spec string
		want refusal
	}{
		"an account in Basic, with users":        {`{apiKeys: {usersRef: {secretKeyRef: {name: k, key: u}}}, loginProtection: {routes: [{name: l, match: [{paths: [/l]}], account: {basicAuth: true}, failure: {statuses: [401]}}]}}`, refusal{"spec.loginProtection.routes[0].account.basicAuth", "usersRef reads Authorization: Basic"}},
		"an account in Basic, with keys":         {`{apiKeys: {from: [{basicAuth: true}], keysRef: {secretKeyRef: {name: k, key: u}}}, loginProtection: {routes: [{name: l, match: [{paths: [/l]}], account: {basicAuth: true}, failure: {statuses: [401]}}]}}`, refusal{"spec.loginProtection.routes[0].account.basicAuth", "write another place"}},
		"an account in the header of keys":       {`{apiKeys: {keysRef: {secretKeyRef: {name: k, key: u}}}, loginProtection: {routes: [{name: l, match: [{paths: [/l]}], account: {header: x-api-key}, failure: {statuses: [401]}}]}}`, refusal{"spec.loginProtection.routes[0].account.header", "spec.apiKeys reads keys from X-Api-Key"}},
		"an empty segment":                       {`authorization: {rules: [{name: a, match: [{paths: [/a//b]}], require: Deny}]}`, refusal{"spec.authorization.rules[0].match[0].paths[0]", `write "/a/b"`}},
		"a stricter route of paths":              {`paths: {encodedSlash: Keep, routes: [{prefix: /a, encodedSlash: Reject}]}`, refusal{"spec.paths.routes[0].encodedSlash", "encodedSlash: Keep for the routes"}},
		"a route that refuses segments":          {`paths: {routes: [{prefix: /a, emptySegments: Reject}]}`, refusal{"spec.paths.routes[0].emptySegments", "emptySegments: Keep for the routes"}},
		"an encoded prefix of paths":             {`paths: {routes: [{prefix: /a%2Fb, encodedSlash: Keep}]}`, refusal{"spec.paths.routes[0].prefix", "as it was sent"}},
		"a pattern as prefix of paths":           {`paths: {routes: [{prefix: /a/**, encodedSlash: Keep}]}`, refusal{"spec.paths.routes[0].prefix", "as it was sent"}},
		"every path as prefix":                   {`paths: {routes: [{prefix: /, encodedSlash: Keep}]}`, refusal{"spec.paths.routes[0].prefix", "in spec.paths"}},
		"a dot segment in a prefix":              {`paths: {routes: [{prefix: /a/../b, encodedSlash: Keep}]}`, refusal{"spec.paths.routes[0].prefix", "dot segment"}},
		"a prefix of paths twice":                {`paths: {routes: [{prefix: /a}, {prefix: /a}]}`, refusal{"spec.paths.routes[1].prefix", "write each prefix once"}},
		"an unknown upstream protocol":           {`upstreamProtocol: HTTP2`, refusal{"spec.upstreamProtocol", "H2C"}},
		"an unknown path handling":               {`paths: {semicolon: Merge}`, refusal{"spec.paths.semicolon", "Keep"}},
		"a path that is none":                    {`rateLimits: [{name: a, limit: 5/minute, match: [{paths: [/ok]}, {paths: [/ok, login]}]}]`, refusal{"spec.rateLimits[0].match[1].paths[1]", `write "/login"`}},
		"every client exempt":                    {`rateLimits: [{name: a, limit: 5/minute, exempt: {clientAddresses: [10.0.0.0/8, "::/0"]}}]`, refusal{"spec.rateLimits[0].exempt.clientAddresses[1]", "contains every client"}},
		"an exempt network that is none":         {`rateLimits: [{name: a, limit: 5/minute, exempt: {clientAddresses: [10.0.0.1]}}]`, refusal{"spec.rateLimits[0].exempt.clientAddresses[0]", "10.0.0.0/8"}},
		"an exempt claim in JSONPath":            {`rateLimits: [{name: a, limit: 5/minute, exempt: {claims: [{claim: $.roles, any: [x]}]}}]`, refusal{"spec.rateLimits[0].exempt.claims[0].claim", "JSONPath"}},
		"an exempt claim of any value":           {`rateLimits: [{name: a, limit: 5/minute, exempt: {claims: [{claim: roles}]}}]`, refusal{"spec.rateLimits[0].exempt.claims[0]", "write all or any"}},
		"an empty exempt member":                 {`rateLimits: [{name: a, limit: 5/minute, exempt: {claims: [{claim: roles, any: [x, ""]}]}}]`, refusal{"spec.rateLimits[0].exempt.claims[0].any[1]", "leave the entry out"}},
		"a value of a claim twice":               {`rateLimits: [{name: a, limit: 5/minute, limitByClaim: {claim: plan, values: [{value: gold, limit: 6/minute}, {value: gold, limit: 7/minute}]}}]`, refusal{"spec.rateLimits[0].limitByClaim.values[1].value", "never applies"}},
		"a burst by claim, too long":             {`rateLimits: [{name: a, limit: 5/minute, limitByClaim: {claim: plan, values: [{value: gold, limit: 1/31d, burst: 100}]}}]`, refusal{"spec.rateLimits[0].limitByClaim.values[0].limit", "31d"}},
		"a limit of nothing":                     {`rateLimits: [{name: a}]`, refusal{"spec.rateLimits[0].limit", "5/minute"}},
		"too many in flight":                     {`rateLimits: [{name: a, maxInFlight: 100001}]`, refusal{"spec.rateLimits[0].maxInFlight", "between 1 and 100000"}},
		"a negative number in flight":            {`rateLimits: [{name: a, limit: 5/minute, maxInFlight: -1}]`, refusal{"spec.rateLimits[0].maxInFlight", "between 1 and 100000"}},
		"a burst without limit":                  {`rateLimits: [{name: a, maxInFlight: 5, burst: 5}]`, refusal{"spec.rateLimits[0].burst", "write limit"}},
		"a limit by claim without limit":         {`rateLimits: [{name: a, maxInFlight: 5, limitByClaim: {claim: plan, values: [{value: gold, limit: 6/minute}]}}]`, refusal{"spec.rateLimits[0].limitByClaim", "write limit"}},
		"a cost without limit":                   {`rateLimits: [{name: a, maxInFlight: 5, cost: {requests: 2}}]`, refusal{"spec.rateLimits[0].cost", "write limit"}},
		"a cost beyond the burst":                {`rateLimits: [{name: a, limit: 5/minute, cost: {requests: 6}}]`, refusal{"spec.rateLimits[0].cost.requests", "burst, which is 5"}},
		"a cost beyond a plan's burst":           {`rateLimits: [{name: a, limit: 5/minute, cost: {requests: 5}, limitByClaim: {claim: plan, values: [{value: gold, limit: 6/minute, burst: 4}]}}]`, refusal{"spec.rateLimits[0].cost.requests", "limitByClaim.values[0].burst, which is 4"}},
		"a cost in two places":                   {`rateLimits: [{name: a, limit: 5/minute, cost: {requests: 1, responseJSON: a}}]`, refusal{"spec.rateLimits[0].cost", "exactly one of"}},
		"a cost without a place":                 {`rateLimits: [{name: a, limit: 5/minute, cost: {}}]`, refusal{"spec.rateLimits[0].cost", "exactly one of"}},
		"a cost in JSONPath":                     {`rateLimits: [{name: a, limit: 5/minute, cost: {responseJSON: $.usage}}]`, refusal{"spec.rateLimits[0].cost.responseJSON", "is not a path"}},
		"a cost in a header that is none":        {`rateLimits: [{name: a, limit: 5/minute, cost: {responseHeader: "X Cost"}}]`, refusal{"spec.rateLimits[0].cost.responseHeader", "X-Request-ID"}},
		"an IPv6 prefix length of 16":            {`rateLimits: [{name: a, limit: 5/minute, ipv6PrefixLength: 16}]`, refusal{"spec.rateLimits[0].ipv6PrefixLength", "between 32 and 128"}},
		"a method in lower case":                 {`authorization: {rules: [{name: a, match: [{methods: [post]}], require: Deny}]}`, refusal{"spec.authorization.rules[0].match[0].methods[0]", "capital letters"}},
		"* with credentials":                     {`cors: {allowOrigins: ["*"], allowCredentials: true}`, refusal{"spec.cors.allowOrigins[0]", "list the origins"}},
		"* methods with credentials":             {`cors: {allowOrigins: ["https://a"], allowMethods: ["*"], allowCredentials: true}`, refusal{"spec.cors.allowMethods[0]", "list the names"}},
		"an origin's port out of range":          {`cors: {allowOrigins: ["https://a:99999"]}`, refusal{"spec.cors.allowOrigins[0]", "from 1 to 65535"}},
		"a CORS method in lower case":            {`cors: {allowOrigins: ["https://a"], allowMethods: [patch]}`, refusal{"spec.cors.allowMethods[0]", "capital letters"}},
		"part of a CORS header":                  {`cors: {allowOrigins: ["https://a"], allowHeaders: ["X-*"]}`, refusal{"spec.cors.allowHeaders[0]", "for example X-Request-ID"}},
		"an empty value":                         {`headers: {set: [{name: X-A, value: ""}]}`, refusal{"spec.headers.set[0].value", "add the header to remove"}},
		"set and removed":                        {`headers: {set: [{name: X-A, value: "1"}], remove: [x-a]}`, refusal{"spec.headers.set[0].name", "leave one out"}},
		"removing with a star":                   {`headers: {remove: ["X-*"]}`, refusal{"spec.headers.remove[0]", "for example X-Request-ID"}},
		"bodies held back for too long":          {`compression: {minSize: 2MiB}`, refusal{"spec.compression.minSize", "at most 1MiB"}},
		"a type with a parameter":                {`compression: {types: ["text/html;q=1"]}`, refusal{"spec.compression.types[0]", "without parameters"}},
		"an identity header of HTTP's":           {provider + `, claimsToHeaders: [{claim: sub, header: Host}]}]}`, refusal{"spec.jwt.providers[0].claimsToHeaders[0].header", "choose another"}},
		"a claim in no format":                   {provider + `, claimsToHeaders: [{claim: sub, header: X-A, format: XML}]}]}`, refusal{"spec.jwt.providers[0].claimsToHeaders[0].format", "write one of Auto"}},
		"no field encoding":                      {tokens + `, fieldEncoding: UTF16}`, refusal{"spec.tokens.fieldEncoding", "write one of UTF8"}},
		"a member with a space":                  {provider + `, requiredClaims: [{claim: scope, members: {all: [a, "b c"]}}]}]}`, refusal{"spec.jwt.providers[0].requiredClaims[0].members.all[1]", "for example [b, c]"}},
		"an empty member":                        {provider + `, requiredClaims: [{claim: scope, members: {any: [""]}}]}]}`, refusal{"spec.jwt.providers[0].requiredClaims[0].members.any[0]", "write a member"}},
		"members of nothing":                     {provider + `, requiredClaims: [{claim: scope, members: {}}]}]}`, refusal{"spec.jwt.providers[0].requiredClaims[0].members", "requires nothing"}},
		"values and members":                     {provider + `, requiredClaims: [{claim: scope, values: [a], members: {any: [a]}}]}]}`, refusal{"spec.jwt.providers[0].requiredClaims[0].members", "one of the two"}},
		"a claim in a method override":           {provider + `, claimsToHeaders: [{claim: sub, header: X-HTTP-Method-Override}]}]}`, refusal{"spec.jwt.providers[0].claimsToHeaders[0].header", "choose another"}},
		"a claim as the client's address":        {tokens + `, claimsToHeaders: [{claim: sub, header: True-Client-IP}]}`, refusal{"spec.tokens.claimsToHeaders[0].header", "choose another"}},
		"a token in a hop-by-hop header":         {provider + `, from: [{cookie: a}, {header: Proxy-Authorization}]}]}`, refusal{"spec.jwt.providers[0].from[1].header", "one connection"}},
		"a token in the sidecar's header":        {provider + `, from: [{header: X-Postern-Token}]}]}`, refusal{"spec.jwt.providers[0].from[0].header", "only the sidecar"}},
		"a token as the client's address":        {provider + `, from: [{header: X-Forwarded-For}]}]}`, refusal{"spec.jwt.providers[0].from[0].header", "in another header"}},
		"a token and a claim":                    {provider + `, from: [{header: X-User}], claimsToHeaders: [{claim: sub, header: x-user}]}]}`, refusal{"spec.jwt.providers[0].from[0].header", "claimsToHeaders"}},
		"a token in the header Cookie":           {provider + `, from: [{header: Cookie}]}]}`, refusal{"spec.jwt.providers[0].from[0].header", "name the cookie"}},
		"keys that are never fresh":              {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k", maxStale: 1m}}]}`, refusal{"spec.jwt.providers[0].jwks.maxStale", "refreshInterval"}},
		"a CA bundle that is none":               {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k", caBundle: x}}]}`, refusal{"spec.jwt.providers[0].jwks.caBundle", "BEGIN CERTIFICATE"}},
		"keys by plain http":                     {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "http://keys.shop.svc/k"}}]}`, refusal{"spec.jwt.providers[0].jwks.uri", "https://"}},
		"a token over plain http":                {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "http://keys.shop.svc/k", insecureHTTP: true, bearerToken: {serviceAccount: {}}}}]}`, refusal{"spec.jwt.providers[0].jwks.bearerToken", "plain HTTP"}},
		"a token from nowhere":                   {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k", bearerToken: {}}}]}`, refusal{"spec.jwt.providers[0].jwks.bearerToken", "exactly one of serviceAccount"}},
		"a token for inline keys":                {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {inline: "{}", bearerToken: {serviceAccount: {}}}}]}`, refusal{"spec.jwt.providers[0].jwks", "apply to uri only"}},
		"a token outside its folder":             {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k", bearerToken: {secretKeyRef: {name: a, key: ../b}}}}]}`, refusal{"spec.jwt.providers[0].jwks.bearerToken.secretKeyRef.key", "without slashes"}},
		"an HMAC secret in the policy":           {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [HS256], jwks: {inline: "{}"}}]}`, refusal{"spec.jwt.providers[0].jwks", "secretKeyRef or vault"}},
		"both kinds of algorithms":               {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [HS256, RS256], jwks: {secretKeyRef: {name: a, key: k}}}]}`, refusal{"spec.jwt.providers[0].algorithms", "cannot be used together"}},
		"an issuer twice":                        {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://a/k"}, maxLifetime: 1h}, {name: b, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://a/k"}, maxLifetime: 1h}]}`, refusal{"spec.jwt.providers[1].issuer", "merge the two providers"}},
		"PS512 for tokens":                       {tokens + `, algorithm: PS512}`, refusal{"spec.tokens.algorithm", "write one of ES256"}},
		"HS256 with Transit":                     {`tokens: {issuer: "https://a.example", audiences: [x], algorithm: HS256, signingKey: {transit: {key: k}}}`, refusal{"spec.tokens.algorithm", "write for example ES256"}},
		"an issuer with a dot segment":           {`tokens: {issuer: "https://a.example/x/..", audiences: [x], signingKey: {secretKeyRef: {name: a, key: k}}}`, refusal{"spec.tokens.issuer", "without empty or dot segments"}},
		"an issuer with a semicolon":             {`tokens: {issuer: "https://a.example/x;y", audiences: [x], signingKey: {secretKeyRef: {name: a, key: k}}}`, refusal{"spec.tokens.issuer", "semicolons"}},
		"a claim with a meaning":                 {tokens + `, claims: [exp]}`, refusal{"spec.tokens.claims[0]", "use another name"}},
		"a trusted origin that is none":          {tokens + `, delivery: Cookie, cookie: {trustedOrigins: ["http://[:::]"]}}`, refusal{"spec.tokens.cookie.trustedOrigins[0]", "write scheme://host"}},
		"an overlap that is too short":           {tokens + `, rotation: {overlap: 10s}}`, refusal{"spec.tokens.rotation.overlap", "shorter than 1m0s"}},
		"a rotation before it signs":             {tokens + `, rotation: {interval: 90m}}`, refusal{"spec.tokens.rotation.interval", "twice the overlap"}},
		"a lifetime in half seconds":             {tokens + `, accessLifetime: 1500ms}`, refusal{"spec.tokens.accessLifetime", "whole seconds"}},
		"a prefix with a dot segment":            {tokens + `, endpoints: {prefix: /a/..}}`, refusal{"spec.tokens.endpoints.prefix", "without them"}},
		"a logout to an endpoint":                {tokens + `, endpoints: {prefix: /auth, logoutRedirect: "/auth/logout?x=y"}}`, refusal{"spec.tokens.endpoints.logoutRedirect", "for example /login"}},
		"a logout to another host":               {tokens + `, endpoints: {prefix: /auth, logoutRedirect: "https://evil.example"}}`, refusal{"spec.tokens.endpoints.logoutRedirect", "for example /login"}},
		"a logout by way of a segment":           {tokens + `, endpoints: {prefix: /auth, logoutRedirect: "/.//evil.example"}}`, refusal{"spec.tokens.endpoints.logoutRedirect", "for example /login"}},
		"endpoints where discovery is":           {`tokens: {issuer: "https://a.example/refresh", audiences: [x], endpoints: {prefix: /.well-known/oauth-authorization-server}, signingKey: {secretKeyRef: {name: a, key: k}}}`, refusal{"spec.tokens.endpoints.prefix", "choose another prefix"}},
		"two signing keys":                       {`tokens: {issuer: "https://a.example", audiences: [x], signingKey: {transit: {key: k}, secretKeyRef: {name: a, key: k}}}`, refusal{"spec.tokens.signingKey", "exactly one"}},
		"a login without paths":                  {tokens + `, login: [{methods: [POST]}]}`, refusal{"spec.tokens.login[0].paths", "for example [/login]"}},
		"a session of no time":                   {`sessions: {absoluteTimeout: 1ms}`, refusal{"spec.sessions.absoluteTimeout", "between 1s"}},
		"bcrypt that is too cheap":               {`passwordPolicy: {hash: {algorithm: Bcrypt, bcrypt: {cost: 4}}}`, refusal{"spec.passwordPolicy.hash.bcrypt.cost", "between 10 and 15"}},
		"a limit's header that is none":          {`rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Header, name: "X A"}]}]`, refusal{"spec.rateLimits[0].keyBy[0].name", "for example X-Request-ID"}},
		"a key outside its Secret's dir":         {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {secretKeyRef: {name: a, key: ../b}}}]}`, refusal{"spec.jwt.providers[0].jwks.secretKeyRef.key", "without slashes"}},
		"a path in Vault that is none":           {`jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {vault: {path: secret/../x, key: k}}}]}`, refusal{"spec.jwt.providers[0].jwks.vault.path", "is . or .."}},
		"passwords of at most 63":                {`passwordPolicy: {rules: {maxLength: 63}}`, refusal{"spec.passwordPolicy.rules.maxLength", "NIST SP 800-63B-4 permits"}},
		"passwords of 7":                         {`passwordPolicy: {rules: {minLength: 7}}`, refusal{"spec.passwordPolicy.rules.minLength", "between 8 and 64"}},
		"a score of 5":                           {`passwordPolicy: {rules: {minScore: 5}}`, refusal{"spec.passwordPolicy.rules.minScore", "between 0 and 4"}},
		"a context word of two letters":          {`passwordPolicy: {rules: {contextWords: [ab]}}`, refusal{"spec.passwordPolicy.rules.contextWords[0]", "such as shop"}},
		"unknown characters":                     {`passwordPolicy: {rules: {require: [Emoji]}}`, refusal{"spec.passwordPolicy.rules.require[0]", "Digit"}},
		"an unknown rule in shadow":              {`passwordPolicy: {rules: {shadow: [weak]}}`, refusal{"spec.passwordPolicy.rules.shadow[0]", "too-weak"}},
		"an unknown mode of passwords":           {`passwordPolicy: {mode: Off, rules: {}}`, refusal{"spec.passwordPolicy.mode", "Shadow"}},
		"a password nowhere":                     {`passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {}}]}`, refusal{"spec.passwordPolicy.routes[0].password", "{form: password}"}},
		"a password in an array":                 {`passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {json: 'a[0]'}}]}`, refusal{"spec.passwordPolicy.routes[0].password", "for example user.password"}},
		"passwords on no route":                  {`passwordPolicy: {routes: [{match: [], password: {json: a}}]}`, refusal{"spec.passwordPolicy.routes[0].match", "at least one match"}},
		"a confirmation in another kind of body": {`passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {json: p}, confirmation: {form: q}}]}`, refusal{"spec.passwordPolicy.routes[0].confirmation", "same kinds of bodies"}},
		"a password as its own confirmation":     {`passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {json: p}, confirmation: {json: p}}]}`, refusal{"spec.passwordPolicy.routes[0].confirmation", "another field"}},
		"an account in another kind of body":     {`passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {json: p}, account: {json: a, form: a}}]}`, refusal{"spec.passwordPolicy.routes[0].account", "same kinds of bodies"}},
		"a list by plain HTTP":                   {`passwordPolicy: {rules: {breachedPasswords: {url: "http://p.example.com/range"}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.url", "start with https://"}},
		"a list with a query":                    {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range?x=y"}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.url", "digits of the hash"}},
		"a list, and no place of the password":   {breachedLogin(`account: {json: email}`, ``), refusal{"spec.loginProtection.routes[0].password", "for example {json: password}"}},
		"a password for a reset":                 {breachedLogin(`kind: PasswordReset, account: {json: email}, password: {json: password}`, ``), refusal{"spec.loginProtection.routes[0].password", "leave password out"}},
		"a password in another kind of body":     {breachedLogin(`account: {json: email, form: email}, password: {json: password}`, ``), refusal{"spec.loginProtection.routes[0].password", "same kinds of bodies"}},
		"an account as the password":             {breachedLogin(`account: {json: email}, password: {json: email}`, ``), refusal{"spec.loginProtection.routes[0].password", "another field"}},
		"a password at two places":               {breachedLogin(`account: {json: email}, password: {json: p, header: X-P}`, ``), refusal{"spec.loginProtection.routes[0].password", "json, form or both"}},
		"a list that refuses logins":             {breachedLogin(`account: {json: email}, password: {json: password}`, `, onFailure: Deny`), refusal{"spec.loginProtection.breachedPasswords.onFailure", "leave onFailure out"}},
		"a list of logins outside its volume":    {breachedLogin(`account: {json: email}, password: {json: password}`, `, file: {claimName: a, path: ../b}`), refusal{"spec.loginProtection.breachedPasswords", "exactly one"}},
		"a list nowhere":                         {`passwordPolicy: {rules: {breachedPasswords: {}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords", "exactly one of url and file"}},
		"a list at two places":                   {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range", file: {claimName: a, path: b}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords", "exactly one of url and file"}},
		"a list outside its volume":              {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a, path: ../b}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "lists/pwned.txt"}},
		"a list at an absolute path":             {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a, path: /b}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "lists/pwned.txt"}},
		"a list at a path that is not clean":     {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a, path: b//c}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "lists/pwned.txt"}},
		"a list that is the volume":              {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a, path: .}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "lists/pwned.txt"}},
		"a list of no claim":                     {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: ../b, path: c}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "for example breached"}},
		"a claim that no namespace has":          {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a..b, path: c}}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.file", "for example breached"}},
		"a file with a CA":                       {`passwordPolicy: {rules: {breachedPasswords: {file: {claimName: a, path: c}, caBundle: x}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords", "url only"}},
		"a login at a path that is none":         {`loginProtection: {routes: [{name: a, match: [{paths: [login]}], account: {json: email}}]}`, refusal{"spec.loginProtection.routes[0].match[0].paths[0]", `write "/login"`}},
		"a challenge in a cookie":                {`loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {json: email}}], challenge: {header: Cookie, url: "https://c.example.com/", secretRef: {secretKeyRef: {name: s, key: k}}}}`, refusal{"spec.loginProtection.challenge.header", "CF-Turnstile-Response"}},
		"a challenge in an API key":              {`apiKeys: {keysRef: {secretKeyRef: {name: s, key: k}}}` + "\n" + `loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {json: email}}], challenge: {header: X-API-Key, url: "https://c.example.com/", secretRef: {secretKeyRef: {name: s, key: k}}}}`, refusal{"spec.loginProtection.challenge.header", "spec.apiKeys reads keys"}},
		"an account for each password":           {`loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {header: Authorization}}]}`, refusal{"spec.loginProtection.routes[0].account.header", "basicAuth: true"}},
		"an account that is removed":             {`loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {header: X-Forwarded-User}}]}`, refusal{"spec.loginProtection.routes[0].account.header", "X-Account"}},
		"a challenge whose CA is none":           {`loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {json: email}}], challenge: {url: "https://c.example.com/", caBundle: x, secretRef: {secretKeyRef: {name: s, key: k}}}}`, refusal{"spec.loginProtection.challenge.caBundle", "BEGIN CERTIFICATE"}},
		"a list whose CA is none":                {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range", caBundle: x}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.caBundle", "BEGIN CERTIFICATE"}},
		"a list that is waited for too long":     {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range", timeout: 1m}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.timeout", "between 10ms and 10s"}},
		"a list that never counts":               {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range", minCount: -1}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.minCount", "1 or more"}},
		"a list that fails somehow":              {`passwordPolicy: {rules: {breachedPasswords: {url: "https://p.example.com/range", onFailure: Ignore}}}`, refusal{"spec.passwordPolicy.rules.breachedPasswords.onFailure", "Deny"}},
		"25 old passwords":                       {`passwordPolicy: {rules: {remember: 25}}`, refusal{"spec.passwordPolicy.rules.remember", "between 0 and 24"}},
		"old passwords of nobody":                {`passwordPolicy: {rules: {remember: 5}, routes: [{match: [{paths: [/a]}], password: {json: p}}]}`, refusal{"spec.passwordPolicy.routes[0].account", "{json: email}"}},
		"a store of passwords that fails":        {`passwordPolicy: {onFailure: Ignore, rules: {remember: 5}}`, refusal{"spec.passwordPolicy.onFailure", "Deny"}},
		"passwords of an hour":                   {`passwordPolicy: {rules: {maxAge: 1h}, ` + changes + `}` + logins, refusal{"spec.passwordPolicy.rules.maxAge", "between 1d and 1098d"}},
		"passwords of ten years":                 {`passwordPolicy: {rules: {maxAge: 3650d}, ` + changes + `}` + logins, refusal{"spec.passwordPolicy.rules.maxAge", "between 1d and 1098d"}},
		"an age that is none":                    {`passwordPolicy: {rules: {maxAge: 3 months}, ` + changes + `}` + logins, refusal{"spec.passwordPolicy.rules.maxAge", "such as 90d"}},
		"an age without changes":                 {`passwordPolicy: {rules: {maxAge: 90d}}` + logins, refusal{"spec.passwordPolicy.rules.maxAge", "write passwordPolicy.routes"}},
		"an age without logins":                  {`passwordPolicy: {rules: {maxAge: 90d}, ` + changes + `}`, refusal{"spec.passwordPolicy.rules.maxAge", "of the kind Login"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var spec v1alpha1.SecurityPolicySpec
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &spec); err != nil {
				t.Fatal(err)
			}
			mustRefuse(t, &spec, tt.want)
		})
	}
}

// TestClassesAreJudged: what is the class's is said of the class.
func TestClassesAreJudged(t *testing.T) {
	const vault = `vault: {address: "https://v.example", auth: {kubernetes: {role: r}}`
	tests := map[string]struct {
		class string
		want  refusal
	}{
		"a proxy that is no CIDR":    {`trustedProxies: [10.0.0.1]`, refusal{"sidecarClass.spec.trustedProxies[0]", "write for example 10.0.0.0/8"}},
		"too few connections":        {`connections: {max: 3}`, refusal{"sidecarClass.spec.connections.max", "between 16 and 1000000"}},
		"a share of less than none":  {`connections: {maxPerAddress: -1}`, refusal{"sidecarClass.spec.connections.maxPerAddress", "between 1 and 1000000"}},
		"a share beyond the whole":   {`connections: {max: 20, maxPerAddress: 21}`, refusal{"sidecarClass.spec.connections.maxPerAddress", "greater than max (20)"}},
		"connections idle for a day": {`connections: {idleTimeout: 24h}`, refusal{"sidecarClass.spec.connections.idleTimeout", "between 1s and 1h"}},
		"connections idle for never": {`connections: {idleTimeout: 0s}`, refusal{"sidecarClass.spec.connections.idleTimeout", "between 1s and 1h"}},
		"a Redis without port":       {`redis: {addresses: [redis]}`, refusal{"sidecarClass.spec.redis.addresses[0]", "redis.example.com:6379"}},
		"a Redis port out of range":  {`redis: {addresses: ["redis:99999"]}`, refusal{"sidecarClass.spec.redis.addresses[0]", "redis.example.com:6379"}},
		"two standalone servers":     {`redis: {addresses: ["a:1", "b:1"]}`, refusal{"sidecarClass.spec.redis.addresses", "write one for Standalone"}},
		"a Redis timeout of an hour": {`redis: {addresses: ["a:1"], timeout: 1h}`, refusal{"sidecarClass.spec.redis.timeout", "between"}},
		"a Redis CA that is none":    {`redis: {addresses: ["a:1"], tls: {caBundle: x}}`, refusal{"sidecarClass.spec.redis.tls.caBundle", "BEGIN CERTIFICATE"}},
		"a reference to nothing":     {`redis: {addresses: ["a:1"], passwordRef: {}}`, refusal{"sidecarClass.spec.redis.passwordRef", "exactly one"}},
		"more requests for one":      {`requests: {max: 10, maxPerAddress: 11}`, refusal{"sidecarClass.spec.requests.maxPerAddress", "write a smaller number"}},
		"no requests":                {`requests: {max: -1}`, refusal{"sidecarClass.spec.requests.max", "for example 1000"}},
		"a rate that is negative":    {`requests: {minBodyRate: -1}`, refusal{"sidecarClass.spec.requests.minBodyRate", "0 for no minimum"}},
		"a rate that nobody reaches": {`requests: {minBodyRate: 2000000}`, refusal{"sidecarClass.spec.requests.minBodyRate", "for example 240"}},
		"more upgrades for one":      {`upgrades: {max: 10, maxPerAddress: 11}`, refusal{"sidecarClass.spec.upgrades.maxPerAddress", "write a smaller number"}},
		"too many upgrades for one":  {`upgrades: {maxPerAddress: 1000001}`, refusal{"sidecarClass.spec.upgrades.maxPerAddress", "for example 100"}},
		"Vault in clear text":        {`vault: {address: "http://v.example", auth: {kubernetes: {role: r}}}`, refusal{"sidecarClass.spec.vault.address", "https://"}},
		"Vault that is never fresh":  {vault + `, pollInterval: 1ms}`, refusal{"sidecarClass.spec.vault.pollInterval", "shorter than 1s"}},
	}
	policy := read[v1alpha1.SecurityPolicy](t, "../../config/samples/tokens.yaml")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			class := &v1alpha1.SidecarClass{}
			if err := yaml.UnmarshalStrict([]byte(tt.class), &class.Spec); err != nil {
				t.Fatal(err)
			}
			if class.Spec.Vault == nil {
				class.Spec.Vault = &v1alpha1.Vault{Address: "https://v.example", Auth: v1alpha1.VaultAuth{Kubernetes: &v1alpha1.VaultKubernetes{Role: "r"}}}
			}
			p, findings := compile.Compile(policy, class)
			var errs []compile.Finding
			for _, f := range findings {
				if f.Severity == compile.Error {
					errs = append(errs, f)
				}
			}
			if p != nil || len(errs) != 1 || errs[0].Field != tt.want.field || !strings.Contains(errs[0].Message, tt.want.write) {
				t.Errorf("document %t, errors %v; want one of %s with %q", p != nil, errs, tt.want.field, tt.want.write)
			}
		})
	}
}

// TestPortsThatAreNone: a quoted number is the name of a container port, and no port has such a name.
func TestPortsThatAreNone(t *testing.T) {
	tests := map[string]struct {
		port intstr.IntOrString
		want string // a part of the message; empty for none
	}{
		"a quoted number":              {intstr.FromString("8080"), "without quotes, such as 8080"},
		"a quoted number with a zero":  {intstr.FromString("080"), "without quotes, such as 8080"},
		"no name":                      {intstr.FromString(""), "without quotes, such as 8080"},
		"zero":                         {intstr.FromInt32(0), "write a number from 1 to 65535"},
		"above the highest":            {intstr.FromInt32(65536), "write a number from 1 to 65535"},
		"the port of the sidecar":      {intstr.FromInt32(int32(compiled.OwnPorts()[0])), "the sidecar's own port"},
		"a number":                     {intstr.FromInt32(8080), ""},
		"a name":                       {intstr.FromString("http"), ""},
		"a name that begins in digits": {intstr.FromString("80-http"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy := &v1alpha1.SecurityPolicy{Spec: v1alpha1.SecurityPolicySpec{Ports: []v1alpha1.Port{{Port: tt.port}}}}
			_, found := compile.Compile(policy, &v1alpha1.SidecarClass{})
			at := slices.IndexFunc(found, func(f compile.Finding) bool { return f.Field == "spec.ports[0].port" && f.Severity == compile.Error })
			if (at >= 0) != (tt.want != "") || at >= 0 && !strings.Contains(found[at].Message, tt.want) {
				t.Errorf("findings %v; want %q", found, tt.want)
			}
		})
	}
}

// breachedLogin looks up the passwords of one route.
func breachedLogin(route, list string) string {
	return `loginProtection: {routes: [{name: a, match: [{paths: [/login]}], ` + route + `}], breachedPasswords: {url: "https://p.example.com/range"` + list + `}}`
}
