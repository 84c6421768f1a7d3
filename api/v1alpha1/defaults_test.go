package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// bare has every section with what the CRD requires and no field that has a default. The second hash is in bareBcrypt.
const bare = `
selector: {}
ports: [{port: 80}]
paths: {routes: [{prefix: /a}]}
loginProtection: {routes: [{name: a, match: [{paths: [/login]}], account: {json: email}, password: {json: password}}], breachedPasswords: {url: "https://p.example.com/range"}, challenge: {url: "https://c.example.com/", secretRef: {secretKeyRef: {name: s, key: k}}}}
jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k"}, backChannelLogout: {}, legacy: {until: "2026-03-01T00:00:00Z"}, claimsToHeaders: [{claim: sub, header: X-A}], proofOfPossession: {}}]}
forwardClientCert: {toApp: [Hash]}
tokens: {issuer: "https://a.example.com", audiences: [x], claimsToHeaders: [{claim: sub, header: X-B}], signingKey: {transit: {key: k}}, login: [{paths: [/login]}]}
revocation: {}
sessions: {}
authorization: {rules: [{name: a, match: [{paths: [/a]}]}]}
rateLimits: [{name: a, limit: 5/minute}]
headers: {}
compression: {}
passwordPolicy: {hash: {}, rules: {breachedPasswords: {url: "https://p.example.com/range"}}, routes: [{match: [{paths: [/register]}], password: {json: password}}]}
apiKeys: {keysRef: {secretKeyRef: {name: k, key: k}}, claimsToHeaders: [{claim: sub, header: X-C}]}
tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a.example.com}}}], redirect: {}, clientCertificates: {caRef: {secretKeyRef: {name: s, key: k}}, identity: URISAN, claimsToHeaders: [{claim: sub, header: X-D}]}}
upstreamTLS: {caRef: {secretKeyRef: {name: s, key: k}}}
audit: {lifecycle: [{resource: user, action: CREATE, match: [{paths: [/users]}]}]}
`

const bareClass = `
connections: {}
accessLogOptions: {}
telemetry: {otlp: {endpoint: "otel:4317", tls: {}}}
redis: {addresses: ["r:6379"]}
vault: {address: "https://v.example.com", auth: {kubernetes: {role: r}, appRole: {roleID: r}}}
database: {address: "p:5432", name: postern, credentials: {vault: {path: database/creds/r}}}
audit: {signingKey: {vaultTransit: {key: k}}}
`

// filled returns, by kind and path, the leaves of every bare spec before and after its defaults are filled in.
func filled(t *testing.T) (before, after map[string]any) {
	t.Helper()
	before, after = map[string]any{}, map[string]any{}
	for _, algorithm := range []string{"", "Bcrypt"} {
		var spec v1alpha1.SecurityPolicySpec
		if err := yaml.UnmarshalStrict([]byte(bare), &spec); err != nil {
			t.Fatal(err)
		}
		spec.PasswordPolicy.Hash.Algorithm = algorithm
		original := *spec.DeepCopy()
		leaves(t, "SecurityPolicy.spec", spec.WithDefaults(), after)
		if !reflect.DeepEqual(spec, original) {
			t.Error("WithDefaults changed the spec that it was called on")
		}
		spec.PasswordPolicy.Hash.Algorithm = ""
		leaves(t, "SecurityPolicy.spec", spec, before)
		if algorithm == "Bcrypt" {
			delete(after, "SecurityPolicy.spec.passwordPolicy.hash.algorithm")
		}
	}
	after["SecurityPolicy.spec.passwordPolicy.hash.algorithm"] = v1alpha1.DefaultHash
	var class v1alpha1.SidecarClassSpec
	if err := yaml.UnmarshalStrict([]byte(bareClass), &class); err != nil {
		t.Fatal(err)
	}
	leaves(t, "SidecarClass.spec", class, before)
	leaves(t, "SidecarClass.spec", class.WithDefaults(), after)
	return before, after
}

// leaves puts the values in object that are not objects into out, by path. Of a list of objects it takes the first.
func leaves(t *testing.T, path string, object any, out map[string]any) {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case map[string]any:
			for name, value := range node {
				walk(path+"."+name, value)
			}
			return
		case []any:
			if len(node) == 0 {
				return
			}
			if first, ok := node[0].(map[string]any); ok {
				walk(path+"[]", first)
			}
		}
		out[path] = node
	}
	walk(path, tree)
}

// TestDefaultsAreFilledIn: WithDefaults sets every value of the table, and the table has every value that WithDefaults sets.
func TestDefaultsAreFilledIn(t *testing.T) {
	before, after := filled(t)
	listed := map[string]bool{}
	for _, d := range v1alpha1.Defaults() {
		if (d.Value == "") == (d.Text == "") || listed[d.Field] {
			t.Errorf("%s: want one row, with either Value or Text: %+v", d.Field, d)
		}
		listed[d.Field] = true
		if d.Value == "" {
			continue
		}
		if _, ok := before[d.Field]; ok {
			t.Errorf("%s is set in the bare spec, so nothing is tested", d.Field)
		}
		var want any
		if err := yaml.Unmarshal([]byte(d.Value), &want); err != nil {
			t.Fatalf("%s: %v", d.Field, err)
		}
		if got := after[d.Field]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %#v; the table says %#v", d.Field, got, want)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(after)) {
		_, set := before[field]
		parent, _, _ := strings.Cut(field, "keyBy[]")
		if strings.HasPrefix(field, "SecurityPolicy.spec.apiKeys.from[]") && listed["SecurityPolicy.spec.apiKeys.from"] {
			continue
		}
		if !set && !listed[field] && !listed[parent+"keyBy"] {
			t.Errorf("WithDefaults sets %s = %v, which the table does not list", field, after[field])
		}
	}
}

// TestDependentDefaults: what a default that is no fixed value follows.
func TestDependentDefaults(t *testing.T) {
	tests := map[string]struct {
		spec  string
		field string
		want  any
	}{
		"burst is the limit's number":          {`rateLimits: [{name: a, limit: 7/minute}]`, "spec.rateLimits[].burst", 7.0},
		"burst of a rate that is none":         {`rateLimits: [{name: a, limit: x}]`, "spec.rateLimits[].burst", nil},
		"no issuer":                            {``, "spec.authorization.default", "Anonymous"},
		"an issuer":                            {`jwt: {providers: []}`, "spec.authorization.default", "Authenticated"},
		"tokens of its own":                    {`tokens: {}`, "spec.authorization.default", "Authenticated"},
		"a certificate that identifies":        {`tls: {clientCertificates: {identity: URISAN}}`, "spec.authorization.default", "Authenticated"},
		"a certificate that admits":            {`tls: {clientCertificates: {}}`, "spec.authorization.default", "Anonymous"},
		"a default that is set":                {`{tokens: {}, authorization: {default: Deny}}`, "spec.authorization.default", "Deny"},
		"tokens have sessions":                 {`tokens: {}`, "spec.sessions.onFailure", "Deny"},
		"tokens can be revoked":                {`tokens: {}`, "spec.revocation.onFailure", "Deny"},
		"jwt alone has no sessions":            {`jwt: {providers: []}`, "spec.sessions.onFailure", nil},
		"jwt alone is not revoked":             {`jwt: {providers: [{}]}`, "spec.revocation.onFailure", nil},
		"logout of a provider revokes":         {`jwt: {providers: [{backChannelLogout: {}}]}`, "spec.revocation.onFailure", "Deny"},
		"logout is for the audiences":          {`jwt: {providers: [{audiences: [a], backChannelLogout: {}}]}`, "spec.jwt.providers[].backChannelLogout.clientIDs", []any{"a"}},
		"idle for as long as a refresh token":  {`{tokens: {refreshLifetime: 1h}}`, "spec.sessions.idleTimeout", "1h"},
		"idle for no longer than the session":  {`{tokens: {}, sessions: {absoluteTimeout: 2h}}`, "spec.sessions.idleTimeout", "2h"},
		"idle without tokens":                  {`sessions: {absoluteTimeout: 3h}`, "spec.sessions.idleTimeout", "3h"},
		"idle of a duration that is none":      {`sessions: {absoluteTimeout: x}`, "spec.sessions.idleTimeout", nil},
		"keys that are not fetched":            {`jwt: {providers: [{jwks: {inline: "{}"}}]}`, "spec.jwt.providers[].jwks.maxStale", nil},
		"keys that are fetched":                {`jwt: {providers: [{jwks: {uri: "https://a"}}]}`, "spec.jwt.providers[].jwks.maxStale", "24h"},
		"a section that is left out stays out": {``, "spec.headers.preset", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var spec v1alpha1.SecurityPolicySpec
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &spec); err != nil {
				t.Fatal(err)
			}
			after := map[string]any{}
			leaves(t, "spec", spec.WithDefaults(), after)
			if got := after[tt.field]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s = %v; want %v", tt.field, got, tt.want)
			}
		})
	}
}

// TestCRDsHaveNoDefaults: the API server must store a spec as it was written. GitOps tools report a difference for a default inside
// a list, and an unset field must stay visible.
func TestCRDsHaveNoDefaults(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("CRDs %v, %v", files, err)
	}
	described := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			inspect(t, crd.Spec.Names.Kind, version.Schema.OpenAPIV3Schema, described)
		}
	}
	for _, d := range v1alpha1.Defaults() {
		if want := "Default: " + d.Value + d.Text + "."; !strings.HasSuffix(described[d.Field], want) {
			t.Errorf("%s is described as %q; want it to end with %q: run make generate", d.Field, described[d.Field], want)
		}
	}
}

// inspect refuses a default at path or below it, and puts the descriptions into out.
func inspect(t *testing.T, path string, schema map[string]any, out map[string]string) {
	t.Helper()
	// The default of a status is for kstatus, see TestNewObjectsAreInProgress. Nobody writes a status into a manifest.
	if value, ok := schema["default"]; ok && !(strings.Count(path, ".") == 1 && strings.HasSuffix(path, ".status")) {
		t.Errorf("the CRD sets %s to %v: move the default to defaults.go", path, value)
	}
	out[path] = fmt.Sprint(schema["description"])
	properties, _ := schema["properties"].(map[string]any)
	for name, field := range properties {
		inspect(t, path+"."+name, field.(map[string]any), out)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		inspect(t, path+"[]", items, out)
	}
}
