package compile_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

var update = flag.Bool("update", false, "write the golden files")

func read[T any](t *testing.T, path string) *T {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := new(T)
	if err := yaml.UnmarshalStrict(b, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGolden compiles each testdata/NAME.yaml under the sample class into NAME.json.
func TestGolden(t *testing.T) {
	class := read[v1alpha1.SidecarClass](t, "../../config/samples/sidecarclass.yaml")
	policies, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(policies, "../../config/samples/securitypolicy.yaml", "../../config/samples/tokens.yaml", "../../config/samples/apikeys.yaml", "../../config/samples/audit.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			p, findings := compile.Compile(read[v1alpha1.SecurityPolicy](t, path), class)
			if len(findings) > 0 {
				t.Fatalf("findings: %v", findings)
			}
			p.Revision = 1
			got, err := compiled.Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", strings.TrimSuffix(filepath.Base(path), ".yaml")+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if _, err := compiled.Decode(got); err != nil {
				t.Errorf("a sidecar would refuse the document: %v", err)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	tests := map[string]struct {
		spec string
		// class is a SidecarClass's spec.
		class        string
		wantField    string
		wantMessage  string
		wantSeverity compile.Severity
	}{
		"inline keys that are no JSON": {
			spec:      `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {inline: "not JSON"}}]}`,
			wantField: "spec.jwt.providers[0].jwks.inline", wantMessage: "not JSON", wantSeverity: compile.Error,
		},
		"a rate that is none": {
			spec:      `rateLimits: [{name: a, limit: 1/fortnight}]`,
			wantField: "spec.rateLimits[0].limit", wantMessage: "fortnight", wantSeverity: compile.Error,
		},
		"a duration that is none": {
			spec:      `cors: {allowOrigins: ["https://a"], maxAge: 1d}`,
			wantField: "spec.cors.maxAge", wantMessage: "1d", wantSeverity: compile.Error,
		},
		"a size that is none": {
			spec:      `compression: {minSize: 1KB}`,
			wantField: "spec.compression.minSize", wantMessage: "1KB", wantSeverity: compile.Error,
		},
		"the sidecar's own port": {
			spec:      `ports: [{port: 15990}]`,
			wantField: "spec.ports[0].port", wantMessage: "sidecar's own", wantSeverity: compile.Error,
		},
		"a selector with an operator that is none": {
			spec:      `selector: {matchExpressions: [{key: app, operator: Near, values: [orders]}]}`,
			wantField: "spec.selector", wantMessage: `"Near"`, wantSeverity: compile.Error,
		},
		"a selector with a value that no label has": {
			spec:      `selector: {matchLabels: {app: "two words"}}`,
			wantField: "spec.selector", wantMessage: "two words", wantSeverity: compile.Error,
		},
		"everything let through beside no ports": {
			spec:      `undeclaredPorts: Allow`,
			wantField: "spec.ports", wantMessage: "not protected at all", wantSeverity: compile.Warning,
		},
		"a port twice": {
			spec:      `ports: [{port: 80}, {port: 80}]`,
			wantField: "spec.ports[1].port", wantMessage: "in the list twice", wantSeverity: compile.Error,
		},
		"authentication by nobody": {
			spec:      `authorization: {default: Authenticated}`,
			wantField: "spec.authorization.default", wantMessage: "a jwt, a tokens or an apiKeys section, or an identity of tls.clientCertificates", wantSeverity: compile.Error,
		},
		"plain HTTP beside TLS": {
			spec:      `tls: {mode: Permissive, certificates: [{secretRef: {name: a}}]}`,
			wantField: "spec.tls.mode", wantMessage: "anyone on the network", wantSeverity: compile.Warning,
		},
		"certificates beside tokens": {
			spec: `{jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}]},
				tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}, identity: URISAN}}}`,
			wantField: "spec.tls.clientCertificates.identity", wantMessage: "a certificate and no token", wantSeverity: compile.Warning,
		},
		"a certificate twice": {
			spec:      `tls: {mode: Require, certificates: [{secretRef: {name: a}}, {secretRef: {name: a}}]}`,
			wantField: "spec.tls.certificates[1]", wantMessage: "write each once", wantSeverity: compile.Error,
		},
		"no certificates": {
			spec:      `tls: {mode: Require, certificates: []}`,
			wantField: "spec.tls.certificates", wantMessage: "write 1 to 16", wantSeverity: compile.Error,
		},
		"a certificate without a source": {
			spec:      `tls: {mode: Require, certificates: [{}]}`,
			wantField: "spec.tls.certificates[0]", wantMessage: "exactly one of secretRef and vault", wantSeverity: compile.Error,
		},
		"a certificate of a Vault that is not there": {
			spec:      `tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a.example.com}}}]}`,
			wantField: "spec", wantMessage: "the SidecarClass has no Vault", wantSeverity: compile.Error,
		},
		"certificates of clients without a CA": {
			spec:      `tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {mode: Require}}`,
			wantField: "spec.tls.clientCertificates.caRef", wantMessage: "no CA to verify", wantSeverity: compile.Error,
		},
		"a trust domain of another identity": {
			spec:      `tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}, identity: Subject, trustDomains: [a]}}`,
			wantField: "spec.tls.clientCertificates.trustDomains", wantMessage: "identity URISAN only", wantSeverity: compile.Error,
		},
		"a trust domain in upper case": {
			spec:      `tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}, identity: URISAN, trustDomains: [Example.org]}}`,
			wantField: "spec.tls.clientCertificates.trustDomains[0]", wantMessage: "not a SPIFFE trust domain", wantSeverity: compile.Error,
		},
		"TLS to an app without a name": {
			spec:      `upstreamTLS: {caRef: {secretKeyRef: {name: c, key: ca.crt}}, serverName: "a b"}`,
			wantField: "spec.upstreamTLS.serverName", wantMessage: "not a DNS name", wantSeverity: compile.Error,
		},
		"proofs by certificates that nobody sees": {
			spec:      `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k"}, proofOfPossession: {methods: [mTLS]}}]}`,
			wantField: "spec.jwt.providers[0].proofOfPossession.methods", wantMessage: "write spec.tls.clientCertificates", wantSeverity: compile.Error,
		},
		"proofs, and no shared memory": {
			spec:      `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k"}, proofOfPossession: {methods: [DPoP]}}]}`,
			wantField: "spec.jwt.providers[0].proofOfPossession", wantMessage: "remembers only its own DPoP proofs", wantSeverity: compile.Warning,
		},
		"the header of untrusted proxies": {
			spec:      `forwardClientCert: {fromProxies: Use}`,
			wantField: "spec.forwardClientCert.fromProxies", wantMessage: "write trustedProxies", wantSeverity: compile.Warning,
		},
		"certificates that no client is asked for": {
			spec:      `forwardClientCert: {toApp: [Hash]}`,
			wantField: "spec.forwardClientCert.toApp", wantMessage: "write spec.tls.clientCertificates", wantSeverity: compile.Error,
		},
		"a detail twice": {
			spec:      `{forwardClientCert: {toApp: [Hash, Hash]}, tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}}}}`,
			wantField: "spec.forwardClientCert.toApp[1]", wantMessage: "in the list twice", wantSeverity: compile.Error,
		},
		"a key in the query": {
			spec:      `apiKeys: {from: [{query: api_key}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[0].query", wantMessage: "Referer", wantSeverity: compile.Warning,
		},
		"a key and a claim in one header": {
			spec:      `apiKeys: {keysRef: {secretKeyRef: {name: k, key: k}}, claimsToHeaders: [{claim: sub, header: x-api-key}]}`,
			wantField: "spec.apiKeys.from[0].header", wantMessage: "carries a claim", wantSeverity: compile.Error,
		},
		"two API keys in one header": {
			spec:      `apiKeys: {from: [{header: X-Key}, {header: x-key, prefix: a}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[1]", wantMessage: "reads the same place", wantSeverity: compile.Error,
		},
		"Basic authentication twice": {
			spec:      `apiKeys: {from: [{basicAuth: true}, {header: Authorization, prefix: "ApiKey "}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[1]", wantMessage: "reads the same place", wantSeverity: compile.Error,
		},
		"users and API keys by Basic authentication": {
			spec:      `apiKeys: {from: [{basicAuth: true}], keysRef: {secretKeyRef: {name: k, key: k}}, usersRef: {secretKeyRef: {name: k, key: u}}}`,
			wantField: "spec.apiKeys.from[0].basicAuth", wantMessage: "either an API key or a user", wantSeverity: compile.Error,
		},
		"users and places of keys": {
			spec:      `apiKeys: {from: [{header: X-Key}], usersRef: {secretKeyRef: {name: k, key: u}}}`,
			wantField: "spec.apiKeys.from", wantMessage: "there is no key file", wantSeverity: compile.Error,
		},
		"API keys without a file": {
			spec:      `apiKeys: {}`,
			wantField: "spec.apiKeys", wantMessage: "write keysRef, usersRef or both", wantSeverity: compile.Error,
		},
		"a rule for users of no file": {
			spec:      `{apiKeys: {keysRef: {secretKeyRef: {name: k, key: k}}}, authorization: {rules: [{name: a, match: [{}], providers: [basic-users]}]}}`,
			wantField: "spec.authorization.rules[0].providers[0]", wantMessage: "basic-users", wantSeverity: compile.Error,
		},
		"a key without a prefix in Authorization": {
			spec:      `apiKeys: {from: [{header: Authorization}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[0].prefix", wantMessage: "tells the two apart", wantSeverity: compile.Error,
		},
		"an API key as a Bearer token": {
			spec:      `apiKeys: {from: [{header: Authorization, prefix: "bearer "}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[0].prefix", wantMessage: "scheme of tokens", wantSeverity: compile.Error,
		},
		"an API key in a header of HTTP": {
			spec:      `apiKeys: {from: [{header: Host}], keysRef: {secretKeyRef: {name: k, key: k}}}`,
			wantField: "spec.apiKeys.from[0].header", wantMessage: "cannot carry", wantSeverity: compile.Error,
		},
		"passwords that are short": {
			spec:      `passwordPolicy: {rules: {minLength: 8}}`,
			wantField: "spec.passwordPolicy.rules.minLength", wantMessage: "secondFactor: true", wantSeverity: compile.Warning,
		},
		"passwords of kinds of characters": {
			spec:      `passwordPolicy: {rules: {require: [Digit]}}`,
			wantField: "spec.passwordPolicy.rules.require", wantMessage: "shall not be imposed", wantSeverity: compile.Warning,
		},
		"passwords that are common": {
			spec:      `passwordPolicy: {rules: {blocklist: None}}`,
			wantField: "spec.passwordPolicy.rules.blocklist", wantMessage: "write Common", wantSeverity: compile.Warning,
		},
		"hashes that are too cheap": {
			spec:      `passwordPolicy: {hash: {argon2id: {passes: 1}}}`,
			wantField: "spec.passwordPolicy.hash.argon2id.memory", wantMessage: "less than the 47104 KiB", wantSeverity: compile.Error,
		},
		"hashes that are cheap by passes": {
			spec:      `passwordPolicy: {hash: {argon2id: {memory: 11MiB, passes: 9}}}`,
			wantField: "spec.passwordPolicy.hash.argon2id.memory", wantMessage: "less than the 12288 KiB", wantSeverity: compile.Error,
		},
		"hashes that take for ever": {
			spec:      `passwordPolicy: {hash: {argon2id: {memory: 512MiB, passes: 3}}}`,
			wantField: "spec.passwordPolicy.hash.argon2id.memory", wantMessage: "at most 1024 MiB", wantSeverity: compile.Error,
		},
		"a role for a Vault that nobody asks": {
			spec: `vaultRole: shop`, class: `vault: {address: "https://v", auth: {kubernetes: {role: r}}}`,
			wantField: "spec.vaultRole", wantMessage: "no sidecar logs in with this role", wantSeverity: compile.Warning,
		},
		"a class's timeout that is none": {
			class:     `redis: {addresses: ["r:6379"], timeout: soon}`,
			wantField: "sidecarClass.spec.redis.timeout", wantMessage: "soon", wantSeverity: compile.Error,
		},
		"no audience": {
			spec:      `jwt: {providers: [{name: a, issuer: i, algorithms: [RS256], jwks: {uri: "https://id.example.com/keys"}, requiredClaims: [{claim: client_id}]}]}`,
			wantField: "spec.jwt.providers[0].audiences", wantMessage: "a token for another app", wantSeverity: compile.Warning,
		},
		"a rule behind one for everything": {
			spec:      `authorization: {rules: [{name: all, match: [{paths: ["/**"]}], require: Anonymous}, {name: admin, match: [{paths: [/admin]}], require: Deny}]}`,
			wantField: "spec.authorization.rules[1]", wantMessage: `rule "all" before it`, wantSeverity: compile.Warning,
		},
		"a rule behind its double": {
			spec:      `authorization: {rules: [{name: a, match: [{paths: [/a, /b]}], require: Anonymous}, {name: b, match: [{paths: [/b]}], require: Deny}]}`,
			wantField: "spec.authorization.rules[1]", wantMessage: `rule "a" before it`, wantSeverity: compile.Warning,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy, class := &v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}
			for text, into := range map[string]any{tt.spec: &policy.Spec, tt.class: &class.Spec} {
				if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			p, findings := compile.Compile(policy, class)
			if len(findings) != 1 {
				t.Fatalf("findings: %v", findings)
			}
			f := findings[0]
			if f.Field != tt.wantField || f.Severity != tt.wantSeverity || !strings.Contains(f.Message, tt.wantMessage) {
				t.Errorf("finding = %+v", f)
			}
			if (p == nil) != (tt.wantSeverity == compile.Error) {
				t.Errorf("document = %v", p)
			}
		})
	}
}

func policy(name string, age time.Duration, selector map[string]string) v1alpha1.SecurityPolicy {
	return v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))},
		Spec:       v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: selector}},
	}
}

func TestSelect(t *testing.T) {
	broken := policy("broken", 9*time.Hour, nil)
	broken.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}
	orders := map[string]string{"app": "orders"}
	tests := map[string]struct {
		policies []v1alpha1.SecurityPolicy
		want     string
	}{
		"none":                               {nil, ""},
		"one that does not match":            {[]v1alpha1.SecurityPolicy{policy("carts", 0, map[string]string{"app": "carts"})}, ""},
		"the empty selector":                 {[]v1alpha1.SecurityPolicy{policy("all", 0, nil)}, "all"},
		"the older of two":                   {[]v1alpha1.SecurityPolicy{policy("young", 0, orders), policy("old", time.Hour, nil)}, "old"},
		"the lesser name of two of an age":   {[]v1alpha1.SecurityPolicy{policy("b", 0, orders), policy("a", 0, orders)}, "a"},
		"a broken selector lets no pod slip": {[]v1alpha1.SecurityPolicy{policy("young", 0, orders), broken}, "broken"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if p := compile.NewSelection(tt.policies).Select(orders); p != nil {
				got = p.Name
			}
			if got != tt.want {
				t.Errorf("selected %q; want %q", got, tt.want)
			}
		})
	}
}

func TestResolveClass(t *testing.T) {
	class := func(name string, age time.Duration, isDefault string) v1alpha1.SidecarClass {
		return v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{
			Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age)),
			Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: isDefault},
		}}
	}
	classes := []v1alpha1.SidecarClass{class("plain", 0, "false"), class("old", time.Hour, "true"), class("new", 0, "true")}
	plain, absent := "plain", "absent"
	tests := map[string]struct {
		named   *string
		classes []v1alpha1.SidecarClass
		want    string
	}{
		"named":                {&plain, classes, "plain"},
		"the newest default":   {nil, classes, "new"},
		"of two of one age":    {nil, []v1alpha1.SidecarClass{class("b", 0, "true"), class("a", 0, "true")}, "a"},
		"in another order":     {nil, []v1alpha1.SidecarClass{class("a", 0, "true"), class("b", 0, "true")}, "a"},
		"named and absent":     {&absent, classes, ""},
		"no default among all": {nil, classes[:1], ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy("p", 0, nil)
			p.Spec.SidecarClassName = tt.named
			got, err := compile.ResolveClass(&p, tt.classes)
			if tt.want == "" {
				if !errors.Is(err, compile.ErrClassNotFound) {
					t.Errorf("error = %v", err)
				}
				return
			}
			if err != nil || got.Name != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// TestVaultOfThoseWhoNeedIt: the document of a policy that refers to nothing in Vault is the same under a class with one, so
// that no pod needs a restart for it, or gets a token or a secret ID that it has no use for.
func TestVaultOfThoseWhoNeedIt(t *testing.T) {
	class := func(redis string) *v1alpha1.SidecarClass {
		c := &v1alpha1.SidecarClass{}
		text := `{vault: {address: "https://v", auth: {appRole: {roleID: r, secretIDRef: {name: s, key: k}}}}, redis: {addresses: ["r:6379"]` + redis + `}}`
		if err := yaml.UnmarshalStrict([]byte(text), &c.Spec); err != nil {
			t.Fatal(err)
		}
		return c
	}
	policy := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	if p, findings := compile.Compile(policy, class("")); len(findings) > 0 || p.Vault != nil || len(p.SecretRefs()) > 0 {
		t.Errorf("without a need: %+v, %v, %v", p.Vault, p.SecretRefs(), findings)
	}
	p, findings := compile.Compile(policy, class(`, passwordRef: {vault: {path: a/b, key: k}}`))
	if len(findings) > 0 || p.Vault == nil || len(p.SecretRefs()) != 2 {
		t.Errorf("with the password of Redis in it: %+v, %v", p, findings)
	}
}

// TestPasswordCosts: what compiles is what a sidecar takes.
func TestPasswordCosts(t *testing.T) {
	for text, want := range map[string]compiled.Passwords{
		`{}`: {Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1},
		`{hash: {argon2id: {memory: 46MiB, passes: 1}}}`:       {Algorithm: "Argon2id", Memory: 46 << 10, Passes: 1, Parallelism: 1},
		`{hash: {argon2id: {memory: 512MiB, parallelism: 4}}}`: {Algorithm: "Argon2id", Memory: 512 << 10, Passes: 2, Parallelism: 4},
		`{hash: {algorithm: Bcrypt}}`:                          {Algorithm: "Bcrypt", Cost: 12},
		`{hash: {algorithm: Bcrypt, bcrypt: {cost: 14}}}`:      {Algorithm: "Bcrypt", Cost: 14},
	} {
		want.LongBcrypt = "Refuse"
		policy := &v1alpha1.SecurityPolicy{}
		if err := yaml.UnmarshalStrict([]byte(`{passwordPolicy: `+text+`}`), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		p, findings := compile.Compile(policy, &v1alpha1.SidecarClass{})
		if len(findings) > 0 || *p.Passwords != want {
			t.Errorf("%s: %+v, %v; want %+v", text, p, findings, want)
		}
	}
}

// TestBackChannelLogoutIsFollowed: what a provider ends must be refused by every sidecar, whether or not the policy has the
// section.
func TestBackChannelLogoutIsFollowed(t *testing.T) {
	for logout, want := range map[string]bool{"": false, ", backChannelLogout: {}": true} {
		policy := &v1alpha1.SecurityPolicy{}
		spec := `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys"}, maxLifetime: 1h` + logout + `}]}`
		if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		p, findings := compile.Compile(policy, &v1alpha1.SidecarClass{})
		if len(findings) > 0 || (p.Revocation != nil) != want {
			t.Errorf("%q: revocation %+v, findings %v; want one: %t", logout, p.Revocation, findings, want)
		}
	}
}
