package compile_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// sections has every section of both kinds, with no field that has a default.
const sections = `
SecurityPolicy:
  spec:
    selector: {}
    ports: [{port: 80}]
    paths: {}
    jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}, legacy: {until: "2026-03-01T00:00:00Z"}, claimsToHeaders: [{claim: sub, header: X-A}], proofOfPossession: {}}]}
    forwardClientCert: {toApp: [Hash]}
    tokens: {issuer: "https://a.example.com", audiences: [x], claimsToHeaders: [{claim: sub, header: X-B}], signingKey: {transit: {key: k}}, login: [{paths: [/login]}]}
    revocation: {}
    sessions: {}
    authorization: {rules: [{name: a, match: [{paths: [/a]}]}]}
    rateLimits: [{name: a, limit: 5/minute}]
    loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {json: email}}], challenge: {url: "https://c.example.com/", secretRef: {secretKeyRef: {name: s, key: k}}}}
    headers: {}
    compression: {}
    passwordPolicy: {hash: {}, rules: {remember: 5, breachedPasswords: {url: "https://p.example.com/range"}}, routes: [{match: [{paths: [/register]}], password: {json: password}, account: {json: email}}]}
    apiKeys: {keysRef: {secretKeyRef: {name: k, key: k}}, claimsToHeaders: [{claim: sub, header: X-C}]}
    tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a.example.com}}}], redirect: {}, clientCertificates: {caRef: {secretKeyRef: {name: s, key: k}}, identity: URISAN, claimsToHeaders: [{claim: sub, header: X-D}]}}
    upstreamTLS: {caRef: {secretKeyRef: {name: s, key: k}}}
    audit: {}
SidecarClass:
  spec:
    connections: {}
    accessLogOptions: {}
    telemetry: {otlp: {endpoint: "otel:4317", tls: {}}}
    redis: {addresses: ["r:6379"]}
    vault: {address: "https://v.example.com", auth: {kubernetes: {role: r}}}
    database: {address: "p:5432", name: postern, credentials: {vault: {path: database/creds/r}}}
    audit: {signingKey: {vaultTransit: {key: k}}}
`

// others has another valid value of each field that has a fixed default. Fields that no document has are in TestDefaultsOfPods.
var others = map[string]string{
	"SecurityPolicy.spec.mode":                                             "Shadow",
	"SecurityPolicy.spec.ports[].protocol":                                 "TCP",
	"SecurityPolicy.spec.undeclaredPorts":                                  "Allow",
	"SecurityPolicy.spec.upstreamProtocol":                                 "HTTP1",
	"SecurityPolicy.spec.upstreamTLS.serverName":                           "orders",
	"SecurityPolicy.spec.tls.minVersion":                                   `"1.3"`,
	"SecurityPolicy.spec.tls.redirect.port":                                "8443",
	"SecurityPolicy.spec.tls.certificates[].vault.pki.mount":               "pki/shop",
	"SecurityPolicy.spec.tls.clientCertificates.mode":                      "Require",
	"SecurityPolicy.spec.tls.clientCertificates.claimsToHeaders[].format":  "JSON",
	"SecurityPolicy.spec.jwt.providers[].proofOfPossession.mode":           "Require",
	"SecurityPolicy.spec.jwt.providers[].proofOfPossession.dpop.maxAge":    "2m",
	"SecurityPolicy.spec.jwt.providers[].proofOfPossession.dpop.onFailure": "Allow",
	"SecurityPolicy.spec.forwardClientCert.fromProxies":                    "Remove",
	"SecurityPolicy.spec.paths.encodedSlash":                               "Keep",
	"SecurityPolicy.spec.paths.semicolon":                                  "Keep",
	"SecurityPolicy.spec.paths.backslash":                                  "Keep",
	"SecurityPolicy.spec.paths.doubleEncoding":                             "Keep",
	"SecurityPolicy.spec.paths.emptySegments":                              "Reject",
	"SecurityPolicy.spec.loginProtection.routes[].kind":                    "PasswordReset",
	"SecurityPolicy.spec.loginProtection.perAccount.failures":              "6",
	"SecurityPolicy.spec.loginProtection.perAccount.within":                "16m",
	"SecurityPolicy.spec.loginProtection.perAccount.lockFor":               "2m",
	"SecurityPolicy.spec.loginProtection.perAccount.maxLock":               "2h",
	"SecurityPolicy.spec.loginProtection.perAddress.failures":              "6",
	"SecurityPolicy.spec.loginProtection.perAddress.within":                "16m",
	"SecurityPolicy.spec.loginProtection.perAddress.lockFor":               "2m",
	"SecurityPolicy.spec.loginProtection.perAddress.maxLock":               "2h",
	"SecurityPolicy.spec.loginProtection.global.failures":                  "7",
	"SecurityPolicy.spec.loginProtection.global.within":                    "6m",
	"SecurityPolicy.spec.loginProtection.resets.perAccount":                "4/hour",
	"SecurityPolicy.spec.loginProtection.resets.perAddress":                "11/hour",
	"SecurityPolicy.spec.loginProtection.knownDevices.failures":            "0",
	"SecurityPolicy.spec.loginProtection.knownDevices.rememberFor":         "1h",
	"SecurityPolicy.spec.loginProtection.challenge.header":                 "X-Other",
	"SecurityPolicy.spec.loginProtection.challenge.afterFailures":          "0",
	"SecurityPolicy.spec.loginProtection.challenge.timeout":                "3s",
	"SecurityPolicy.spec.loginProtection.challenge.onFailure":              "Allow",
	"SecurityPolicy.spec.loginProtection.response":                         "TooManyRequests",
	"SecurityPolicy.spec.loginProtection.onFailure":                        "Allow",
	"SecurityPolicy.spec.loginProtection.mode":                             "Shadow",
	"SecurityPolicy.spec.jwt.providers[].legacy.subjectClaim":              "user.id",
	"SecurityPolicy.spec.jwt.providers[].legacy.shortSecret":               "Allow",
	"SecurityPolicy.spec.jwt.providers[].leeway":                           "1m",
	"SecurityPolicy.spec.jwt.providers[].claimsToHeaders[].format":         "JSON",
	"SecurityPolicy.spec.tokens.claimsToHeaders[].format":                  "JSON",
	"SecurityPolicy.spec.apiKeys.claimsToHeaders[].format":                 "JSON",
	"SecurityPolicy.spec.apiKeys.from":                                     "[{header: X-Key}]",
	"SecurityPolicy.spec.apiKeys.mode":                                     "Shadow",
	"SecurityPolicy.spec.tokens.fieldEncoding":                             "Percent",
	"SecurityPolicy.spec.tokens.algorithm":                                 "EdDSA",
	"SecurityPolicy.spec.tokens.accessLifetime":                            "1m",
	"SecurityPolicy.spec.tokens.refreshLifetime":                           "24h",
	"SecurityPolicy.spec.tokens.refreshGrace":                              "1s",
	"SecurityPolicy.spec.tokens.delivery":                                  "Cookie",
	"SecurityPolicy.spec.tokens.cookie.sameSite":                           "Strict",
	"SecurityPolicy.spec.tokens.cookie.renewal":                            "Endpoint",
	"SecurityPolicy.spec.tokens.endpoints.clearSiteData":                   "All",
	"SecurityPolicy.spec.authorization.cacheControl":                       "Unchanged",
	"SecurityPolicy.spec.tokens.signingKey.transit.mount":                  "other",
	"SecurityPolicy.spec.tokens.rotation.overlap":                          "2h",
	"SecurityPolicy.spec.tokens.login[].methods":                           "[GET]",
	"SecurityPolicy.spec.tokens.endpoints.prefix":                          "/other",
	"SecurityPolicy.spec.revocation.maxStaleness":                          "9s",
	"SecurityPolicy.spec.revocation.onFailure":                             "Allow",
	"SecurityPolicy.spec.revocation.mode":                                  "Shadow",
	"SecurityPolicy.spec.sessions.absoluteTimeout":                         "1h",
	"SecurityPolicy.spec.sessions.maxPerSubject":                           "3",
	"SecurityPolicy.spec.sessions.whenFull":                                "Reject",
	"SecurityPolicy.spec.sessions.whenMemoryFull":                          "Reject",
	"SecurityPolicy.spec.sessions.device.bind":                             "Address",
	"SecurityPolicy.spec.sessions.onFailure":                               "Allow",
	"SecurityPolicy.spec.sessions.mode":                                    "Shadow",
	"SecurityPolicy.spec.authorization.mode":                               "Shadow",
	"SecurityPolicy.spec.authorization.rules[].mode":                       "Shadow",
	"SecurityPolicy.spec.authorization.rules[].require":                    "Deny",
	"SecurityPolicy.spec.rateLimits[].keyBy":                               "[{type: Route}]",
	"SecurityPolicy.spec.rateLimits[].ipv6PrefixLength":                    "56",
	"SecurityPolicy.spec.rateLimits[].mode":                                "Shadow",
	"SecurityPolicy.spec.rateLimits[].onFailure":                           "Deny",
	"SecurityPolicy.spec.headers.preset":                                   "API",
	"SecurityPolicy.spec.compression.minSize":                              "2KiB",
	"SecurityPolicy.spec.passwordPolicy.mode":                              "Shadow",
	"SecurityPolicy.spec.passwordPolicy.rules.minLength":                   "16",
	"SecurityPolicy.spec.passwordPolicy.rules.maxLength":                   "64",
	"SecurityPolicy.spec.passwordPolicy.rules.blocklist":                   "None",
	"SecurityPolicy.spec.passwordPolicy.onFailure":                         "Allow",
	"SecurityPolicy.spec.passwordPolicy.rules.accountClaim":                "email",
	"SecurityPolicy.spec.passwordPolicy.routes[].match[].methods":          "[PUT]",
	"SecurityPolicy.spec.passwordPolicy.longBcryptPasswords":               "Truncate",
	"SecurityPolicy.spec.passwordPolicy.hash.algorithm":                    "Bcrypt",
	"SecurityPolicy.spec.passwordPolicy.hash.argon2id.memory":              "64MiB",
	"SecurityPolicy.spec.passwordPolicy.hash.argon2id.passes":              "3",
	"SecurityPolicy.spec.passwordPolicy.hash.argon2id.parallelism":         "2",
	"SecurityPolicy.spec.passwordPolicy.hash.bcrypt.cost":                  "13",
	"SidecarClass.spec.logLevel":                                           "debug",
	"SidecarClass.spec.accessLog":                                          "None",
	"SidecarClass.spec.telemetry.otlp.protocol":                            "http",
	"SidecarClass.spec.telemetry.otlp.sampleRatio":                         "1",
	"SidecarClass.spec.telemetry.otlp.tls.mode":                            "Disable",
	"SidecarClass.spec.accessLogOptions.sampleRatio":                       "0.5",
	"SidecarClass.spec.accessLogOptions.format":                            "ECS",
	"SidecarClass.spec.requestID.header":                                   "X-Correlation-ID",
	"SidecarClass.spec.requestID.fromClients":                              "Never",
	"SidecarClass.spec.connections.idleTimeout":                            "1m",
	"SidecarClass.spec.drainTimeout":                                       "1s",
	"SidecarClass.spec.requests.minBodyRate":                               "0",
	"SidecarClass.spec.redis.mode":                                         "Cluster",
	"SidecarClass.spec.redis.timeout":                                      "1s",
	"SidecarClass.spec.vault.timeout":                                      "1s",
	"SidecarClass.spec.vault.pollInterval":                                 "1s",
	"SidecarClass.spec.vault.maxStale":                                     "1h",
	"SidecarClass.spec.vault.auth.kubernetes.mount":                        "other",
	"SidecarClass.spec.vault.auth.kubernetes.audience":                     "other",
	"SidecarClass.spec.vault.auth.appRole.mount":                           "other",
	"SecurityPolicy.spec.loginProtection.breachedPasswords.timeout":        "3s",
	"SecurityPolicy.spec.loginProtection.breachedPasswords.minCount":       "2",
	"SecurityPolicy.spec.passwordPolicy.rules.breachedPasswords.timeout":   "3s",
	"SecurityPolicy.spec.passwordPolicy.rules.breachedPasswords.minCount":  "2",
	"SecurityPolicy.spec.passwordPolicy.rules.breachedPasswords.onFailure": "Deny",
	"SecurityPolicy.spec.audit.sinks":                                      "[Log, PostgreSQL]",
	"SecurityPolicy.spec.audit.format":                                     "OCSF",
	"SecurityPolicy.spec.audit.onFailure":                                  "Allow",
	"SecurityPolicy.spec.audit.mode":                                       "Shadow",
	"SidecarClass.spec.database.via":                                       "RedisStream",
	"SidecarClass.spec.database.tls.mode":                                  "Disable",
	"SidecarClass.spec.database.maxConnections":                            "4",
	"SidecarClass.spec.audit.signingKey.vaultTransit.mount":                "other",
	"SidecarClass.spec.audit.spool.maxBytes":                               "17MiB",
	"SidecarClass.spec.audit.spool.storage":                                "EmptyDir",
	"SidecarClass.spec.audit.checkpointInterval":                           "2m",
}

// ofPods are fields that have a fixed default and are in no document.
var ofPods = map[string]bool{"SecurityPolicy.spec.rollout": true, "SidecarClass.spec.interception": true}

// TestDefaultsAreWhatIsCompiled: for each default of the table, the document is the same whether the field is unset or has the value
// of the table, and it is another one if the field has another value.
func TestDefaultsAreWhatIsCompiled(t *testing.T) {
	for _, d := range v1alpha1.Defaults() {
		if d.Value == "" || ofPods[d.Field] {
			continue
		}
		t.Run(d.Field, func(t *testing.T) {
			other, ok := others[d.Field]
			if !ok {
				t.Fatal("add another valid value to others")
			}
			unset := document(t, d.Field, "")
			if set := document(t, d.Field, d.Value); !bytes.Equal(unset, set) {
				t.Errorf("the document of an unset field is not that of %s:\n%s\n%s", d.Value, unset, set)
			}
			if changed := document(t, d.Field, other); bytes.Equal(unset, changed) {
				t.Errorf("the document is the same with %s: the field has no effect", other)
			}
		})
	}
}

// document compiles all sections with one field set. An empty value leaves the field out.
func document(t *testing.T, field, value string) []byte {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(sections), &tree); err != nil {
		t.Fatal(err)
	}
	set(t, tree, "SecurityPolicy.spec.passwordPolicy.hash.algorithm", map[bool]string{true: "Bcrypt"}[strings.Contains(field, ".bcrypt.")])
	if strings.Contains(field, ".appRole.") {
		set(t, tree, "SidecarClass.spec.vault.auth", "{appRole: {roleID: r}}")
	}
	if login := "SecurityPolicy.spec.loginProtection."; strings.HasPrefix(field, login+"breachedPasswords.") {
		set(t, tree, login+"routes[].password", "{json: password}")
		set(t, tree, login+"breachedPasswords.url", "https://p.example.com/range")
	}
	if strings.HasPrefix(field, "SidecarClass.spec.database.") {
		set(t, tree, "SecurityPolicy.spec.audit.sinks", "[Log, PostgreSQL]")
	}
	set(t, tree, field, value)
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var objects struct {
		SecurityPolicy v1alpha1.SecurityPolicy
		SidecarClass   v1alpha1.SidecarClass
	}
	if err := yaml.UnmarshalStrict(b, &objects); err != nil {
		t.Fatal(err)
	}
	p, findings := compile.Compile(&objects.SecurityPolicy, &objects.SidecarClass)
	if p == nil {
		t.Fatalf("findings: %v", findings)
	}
	out, err := compiled.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// set sets the field at a path to a value in YAML, and makes the sections on the way. An empty value changes nothing.
func set(t *testing.T, tree map[string]any, path, value string) {
	t.Helper()
	if value == "" {
		return
	}
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		name, isList := strings.CutSuffix(part, "[]")
		next := tree[name]
		if isList {
			next = next.([]any)[0]
		} else if next == nil {
			next = map[string]any{}
			tree[name] = next
		}
		tree = next.(map[string]any)
	}
	var v any
	if err := yaml.Unmarshal([]byte(value), &v); err != nil {
		t.Fatal(err)
	}
	tree[parts[len(parts)-1]] = v
}

// TestDefaultsOfPods: what an unset field means that concerns the pod and is in no document. The default of rollout is the value that
// restarts nothing, which controllers/policy tests.
func TestDefaultsOfPods(t *testing.T) {
	if got := compile.Interception(&v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}); got != v1alpha1.DefaultInterception {
		t.Errorf("interception = %s", got)
	}
	if v1alpha1.DefaultRollout == v1alpha1.RolloutAutomatic {
		t.Error("an unset rollout restarts pods; controllers/policy restarts them if it is Automatic alone")
	}
}

// TestDefaultOfSidecar: a sidecar that gets no connections applies the default of the table.
func TestDefaultOfSidecar(t *testing.T) {
	if got, err := v1alpha1.DefaultConnectionIdle.Std(); err != nil || got != compiled.DefaultIdleTimeout.Std() {
		t.Errorf("%s, %v; the sidecar has %s", got, err, compiled.DefaultIdleTimeout.Std())
	}
}
