package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/resources"
)

// choose returns plain in 19 of 20 cases, and otherwise one of others.
func choose(r *rand.Rand, plain string, others ...string) string {
	if r.IntN(20) > 0 {
		return plain
	}
	return others[r.IntN(len(others))]
}

// generate returns a spec of values that are mostly plausible and sometimes wrong, with up to three providers.
func generate(r *rand.Rand, inline string) v1alpha1.SecurityPolicySpec {
	match := func() []v1alpha1.RouteMatch {
		return []v1alpha1.RouteMatch{{
			Methods: []string{choose(r, "POST", "get", "*", "", "PROPFIND")},
			Paths:   []string{choose(r, "/a/*", "/", "/**", "/a/", "/a//b", "/a;b", "/a?x", "/%41", "/é", "/a**", "a", "/..", "/100%")},
		}}
	}
	header := func() string {
		return choose(r, "X-A", "x-a", "X-B", "Host", "a b", "Set-Cookie", "Vary", "X-*", "Te", "X-Forwarded-User", "X-Original-URL", "X_A", "")
	}
	origin := func() string {
		return choose(r, "https://a.example", "*", "null", "http://[:::]", "http://[::1]:80", "https://a:99999", "https://A/", "app://x", "https://*.a")
	}
	spec := v1alpha1.SecurityPolicySpec{
		Mode: v1alpha1.Mode(choose(r, "", "Shadow", "x")), VaultRole: choose(r, "", "shop"),
		Tokens: generateTokens(r, match), Revocation: generateRevocation(r),
		JWT: &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
			Name: choose(r, "corp", "postern", ""), Issuer: choose(r, "https://id.example", "https://own.example", ""), Audiences: []string{choose(r, "web", "")},
			Algorithms: []v1alpha1.Algorithm{v1alpha1.Algorithm(choose(r, "ES256", "RS256", "HS256", "none"))},
			JWKS:       v1alpha1.JWKS{Inline: choose(r, inline, "{}", "null", `{"keys":[{}]}`, "x")},
			From:       []v1alpha1.TokenLocation{{Header: choose(r, "Authorization", "Cookie", "a b", "X-Forwarded-Access-Token", "X-Forwarded-For", "X_Token", "X-A"), Prefix: choose(r, "Bearer ", "")}},
			Leeway:     v1alpha1.Duration(choose(r, "30s", "", "1h", "x")), TokenTypes: []string{choose(r, "JWT", "")},
			RequiredClaims:  []v1alpha1.RequiredClaim{{Claim: choose(r, "a.b", ""), Members: &v1alpha1.ClaimMembers{All: []string{choose(r, "a", "a b", "")}}}},
			ClaimsToHeaders: []v1alpha1.ClaimToHeader{{Claim: choose(r, "sub", ""), Header: header(), Format: v1alpha1.ClaimFormat(choose(r, "", "JSON", "XML"))}, {Claim: "iss", Header: header()}},
		}}},
		Authorization: &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "a", Match: match(), Require: v1alpha1.Requirement(choose(r, "Anonymous", "Deny", "Maybe"))}}},
		RateLimits: []v1alpha1.RateLimit{{
			Name: choose(r, "rl", "", "é"), Limit: v1alpha1.Rate(choose(r, "5/minute", "999999999/second", "1/744h", "0/day", "x")), Burst: []int32{0, 1, 100000, -1}[r.IntN(4)],
			Match: match(), KeyBy: []v1alpha1.RateLimitKey{{Type: v1alpha1.RateLimitKeyType(choose(r, "Header", "Claim", "Route", "X")), Name: choose(r, "X-A", "", "a b")}},
		}},
		Headers:        &v1alpha1.Headers{Preset: v1alpha1.HeaderPreset(choose(r, "Strict", "API", "None", "x")), HeaderRules: v1alpha1.HeaderRules{Set: []v1alpha1.HeaderField{{Name: header(), Value: choose(r, "1", "", " a ", "a\nb")}}, Remove: []string{header()}}},
		CORS:           &v1alpha1.CORS{AllowOrigins: []string{origin()}, AllowMethods: []string{choose(r, "GET", "*", "get")}, ExposeHeaders: []string{choose(r, "X-A", "*", "a b")}, AllowCredentials: r.IntN(2) == 0},
		Compression:    &v1alpha1.Compression{MinSize: v1alpha1.Size(choose(r, "1KiB", "2MiB", "x", "")), Types: []string{choose(r, "text/*", "text", "a/b;q")}},
		PasswordPolicy: &v1alpha1.PasswordPolicy{Hash: &v1alpha1.PasswordHash{Argon2id: &v1alpha1.Argon2idCost{Memory: v1alpha1.Size(choose(r, "46MiB", "19MiB", "1MiB", "900MiB")), Passes: int32(r.IntN(19)), Parallelism: int32(r.IntN(19))}}},
		Sessions:       &v1alpha1.Sessions{SubjectFrom: choose(r, "sub", "sid", "x"), AbsoluteTimeout: v1alpha1.Duration(choose(r, "24h", "1ms", "9000h", "")), MaxPerSubject: []int32{0, 3, 256, 999}[r.IntN(4)]},
	}
	// Most sections are left out of most specs, so that many are accepted.
	for _, drop := range []func(){
		func() { spec.JWT.Providers[0].ClaimsToHeaders = nil }, func() { spec.JWT.Providers[0].From = nil }, func() { spec.Authorization = nil },
		func() { spec.RateLimits = nil }, func() { spec.Headers = nil }, func() { spec.CORS = nil }, func() { spec.Compression = nil },
		func() { spec.PasswordPolicy = nil }, func() { spec.Sessions = nil }, func() { spec.Tokens = nil }, func() { spec.Revocation = nil },
	} {
		if r.IntN(3) > 0 {
			drop()
		}
	}
	for i, n := 0, r.IntN(3); i < n; i++ {
		spec.JWT.Providers = append(spec.JWT.Providers, generateProvider(r, i))
	}
	if r.IntN(8) == 0 {
		spec.JWT = nil
	}
	return spec
}

// generateProvider returns a further provider, with keys from anywhere.
func generateProvider(r *rand.Rand, i int) v1alpha1.JWTProvider {
	p := v1alpha1.JWTProvider{
		Name: choose(r, fmt.Sprintf("more-%d", i), "corp"), Issuer: choose(r, fmt.Sprintf("https://more-%d.example", i), "https://id.example"), Audiences: []string{"web"},
		Algorithms: []v1alpha1.Algorithm{v1alpha1.Algorithm(choose(r, "RS256", "HS256", "PS512", "Ed25519"))}, MaxLifetime: v1alpha1.Duration(choose(r, "", "1h", "x")),
	}
	switch r.IntN(3) {
	case 0:
		p.JWKS = v1alpha1.JWKS{URI: choose(r, "https://id.example/k", "http://id.example/k", "http://localhost:1/k", ":"), MaxStale: v1alpha1.Duration(choose(r, "", "1m", "2h")), InsecureHTTP: r.IntN(3) == 0}
		p.JWKS.BearerToken = generateBearer(r)
	case 1:
		p.JWKS.SecretKeyRef = &v1alpha1.SecretKeyRef{Name: "keys", Key: choose(r, "jwks", "../x", "")}
	default:
		p.JWKS.Vault = &v1alpha1.VaultRef{Path: choose(r, "secret/keys", "secret", "secret/../x"), Key: "k"}
	}
	if r.IntN(3) == 0 {
		p.BackChannelLogout = &v1alpha1.BackChannelLogout{ClientIDs: []string{choose(r, "web", "")}}
	}
	return p
}

// generateBearer returns a token for a key set, from anywhere, or nil.
func generateBearer(r *rand.Rand) *v1alpha1.BearerToken {
	switch r.IntN(6) {
	case 0:
		return &v1alpha1.BearerToken{ServiceAccount: &v1alpha1.ServiceAccountToken{Audience: choose(r, "", "id")}}
	case 1:
		return &v1alpha1.BearerToken{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "id", Key: choose(r, "token", "../x")}}
	case 2:
		return &v1alpha1.BearerToken{Vault: &v1alpha1.VaultRef{Path: choose(r, "secret/id", "secret"), Key: "k"}}
	case 3:
		return &v1alpha1.BearerToken{}
	}
	return nil
}

func generateTokens(r *rand.Rand, match func() []v1alpha1.RouteMatch) *v1alpha1.Tokens {
	duration := func(plain string) v1alpha1.Duration {
		return v1alpha1.Duration(choose(r, plain, "", "1500ms", "9000h", "x"))
	}
	t := &v1alpha1.Tokens{
		Issuer: choose(r, "https://own.example", "https://own.example/%zz", "http://own.example", "https://own.example/a//b", ""), Audiences: []string{choose(r, "web", "")},
		Algorithm: v1alpha1.Algorithm(choose(r, "", "EdDSA", "HS256", "none")), AccessLifetime: duration("5m"), RefreshLifetime: duration("24h"), RefreshGrace: duration("5s"),
		Claims: []string{choose(r, "role", "exp", "")}, Delivery: v1alpha1.TokenDelivery(choose(r, "Cookie", "", "x")), FieldEncoding: v1alpha1.FieldEncoding(choose(r, "Percent", "", "x")), ForwardToken: r.IntN(2) == 0,
		Login: match(),
	}
	if r.IntN(2) == 0 {
		t.Cookie = &v1alpha1.TokenCookie{SameSite: choose(r, "Strict", "", "None"), TrustedOrigins: []string{choose(r, "https://a.example", "null", "http://[:::]")}}
		t.Rotation = &v1alpha1.KeyRotation{Interval: duration("24h"), Overlap: duration("2h")}
		t.Endpoints = &v1alpha1.TokenEndpoints{Prefix: choose(r, "/auth", "/a/..", "/.well-known", "auth", "/a//b")}
	}
	switch r.IntN(3) {
	case 0:
		t.SigningKey.Transit = &v1alpha1.TransitKey{Key: choose(r, "k", "../k", ""), Mount: choose(r, "", "a/b", "..")}
	case 1:
		t.SigningKey.Vault = &v1alpha1.VaultRef{Path: choose(r, "secret/keys", "secret"), Key: choose(r, "k", "")}
	default:
		t.SigningKey.SecretKeyRef = &v1alpha1.SecretKeyRef{Name: choose(r, "keys", "..", ""), Key: "signing"}
	}
	return t
}

func generateRevocation(r *rand.Rand) *v1alpha1.Revocation {
	return &v1alpha1.Revocation{
		MaxStaleness: v1alpha1.Duration(choose(r, "5s", "", "1ms", "9000h", "x")), OnFailure: v1alpha1.FailureMode(choose(r, "", "Allow", "x")), Mode: v1alpha1.Mode(choose(r, "", "Shadow", "x")),
	}
}

// generateClass returns a class with a Redis and a Vault that nobody listens at, or without.
func generateClass(r *rand.Rand) v1alpha1.SidecarClassSpec {
	spec := v1alpha1.SidecarClassSpec{LogLevel: choose(r, "", "debug", "loud"), DrainTimeout: v1alpha1.Duration(choose(r, "", "1s", "x")), TrustedProxies: []string{choose(r, "10.0.0.0/8", "10.0.0.1", "::/0")}}
	if r.IntN(2) == 0 {
		spec.Redis = &v1alpha1.Redis{
			Mode: v1alpha1.RedisMode(choose(r, "", "Cluster", "Sentinel", "x")), Addresses: []string{choose(r, "127.0.0.1:1", "redis", "[::1]:1", "a:99999")},
			MasterName: choose(r, "", "m"), Database: []int32{0, 0, 0, 1, -1}[r.IntN(5)], Timeout: v1alpha1.Duration(choose(r, "", "5ms", "1h")),
		}
		if r.IntN(3) == 0 {
			spec.Redis.TLS = &v1alpha1.RedisTLS{CABundle: choose(r, "", "x")}
			spec.Redis.Username, spec.Redis.PasswordRef = "u", &v1alpha1.SecretRef{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "redis", Key: choose(r, "password", "a/b")}}
		}
	}
	if r.IntN(3) > 0 {
		spec.Vault = &v1alpha1.Vault{
			Address: choose(r, "https://127.0.0.1:1", "http://v.example", "https://v/path"), PollInterval: v1alpha1.Duration(choose(r, "", "1ms", "1h")), MaxStale: v1alpha1.Duration(choose(r, "", "1s")),
			Auth: v1alpha1.VaultAuth{Kubernetes: &v1alpha1.VaultKubernetes{Role: choose(r, "r", ""), Mount: choose(r, "", "a/b", "..")}},
		}
		if r.IntN(4) == 0 {
			spec.Vault.Auth = v1alpha1.VaultAuth{AppRole: &v1alpha1.VaultAppRole{RoleID: choose(r, "r", ""), SecretIDRef: &v1alpha1.SecretKeyRef{Name: "s", Key: "k"}}}
		}
	}
	return spec
}

// specs are the cases that were once accepted, by name, and inline the good key set that they have.
func specs(t testing.TB) (cases map[string]v1alpha1.SecurityPolicySpec, inline string) {
	t.Helper()
	cases = map[string]v1alpha1.SecurityPolicySpec{}
	content, err := os.ReadFile("../controllers/compile/testdata/no-sidecar-runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var c struct {
			Case string
			Spec v1alpha1.SecurityPolicySpec
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases[c.Case] = c.Spec
	}
	return cases, cases["path '/admin/'"].JWT.Providers[0].JWKS.Inline
}

// runs reports whether the spec is accepted; what is accepted must be built.
func runs(t testing.TB, shared *resources.Resources, spec v1alpha1.SecurityPolicySpec, class v1alpha1.SidecarClassSpec) bool {
	t.Helper()
	policy := &v1alpha1.SecurityPolicy{Spec: spec}
	policy.Namespace, policy.Name = "shop", "orders"
	p, _ := compile.Compile(policy, &v1alpha1.SidecarClass{Spec: class})
	if p == nil {
		return false
	}
	p.Revision = 1
	encoded, err := compiled.Encode(p)
	if err == nil {
		p, err = compiled.Decode(encoded)
	}
	if err == nil {
		err = chain.Check(p)
	}
	// A sidecar that starts waits for revocations from Redis, which nobody serves here: Check alone judges such a document.
	if waits := p != nil && p.Redis != nil && p.Revocation != nil; err == nil && !waits {
		var s *chain.Snapshot
		if s, err = chain.Build(p, chain.Config{Resources: shared, OnlyPort: 80, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			s.Close()
		}
	}
	if err != nil {
		b, _ := json.Marshal(spec)
		c, _ := json.Marshal(class)
		t.Errorf("accepted, and no sidecar runs it: %v\n%s\n%s", err, b, c)
	}
	return true
}

func newShared(t testing.TB) *resources.Resources {
	t.Helper()
	pod := t.TempDir() // with what the webhook adds to it
	account := filepath.Join(pod, "vault")
	for _, name := range []string{"vault", compiled.KeysTokenName(""), compiled.KeysTokenName("id")} {
		if err := os.WriteFile(filepath.Join(pod, name), []byte("account"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shared, err := resources.New(resources.Config{
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(), VaultTokenFile: account, KeysTokenDir: pod, CloseDelay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shared.Close)
	return shared
}

// TestWhatIsAcceptedRuns: whatever the operator accepts, a sidecar builds.
func TestWhatIsAcceptedRuns(t *testing.T) {
	shared := newShared(t)
	cases, inline := specs(t)
	for _, spec := range cases {
		runs(t, shared, spec, v1alpha1.SidecarClassSpec{})
	}
	const n = 3000
	accepted, with := 0, map[string]int{}
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 1))
		spec, class := generate(r, inline), generateClass(r)
		if !runs(t, shared, spec, class) {
			continue
		}
		accepted++
		for section, there := range map[string]bool{
			"tokens": spec.Tokens != nil, "sessions": spec.Sessions != nil, "revocation": spec.Revocation != nil, "passwordPolicy": spec.PasswordPolicy != nil,
			"several providers": spec.JWT != nil && len(spec.JWT.Providers) > 1, "redis": class.Redis != nil, "vault": class.Vault != nil,
		} {
			if there {
				with[section]++
			}
		}
	}
	if accepted < n/50 || accepted > n*9/10 {
		t.Errorf("%s specs are accepted: the test sees one side alone", fmt.Sprintf("%d of %d", accepted, n))
	}
	for _, section := range []string{"tokens", "sessions", "revocation", "passwordPolicy", "several providers", "redis", "vault"} {
		if with[section] < 10 {
			t.Errorf("%d accepted specs have %s: the test does not see it", with[section], section)
		}
	}
}

// FuzzWhatIsAcceptedRuns is the same for any seed.
func FuzzWhatIsAcceptedRuns(f *testing.F) {
	shared := newShared(f)
	_, inline := specs(f)
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		runs(t, shared, generate(r, inline), generateClass(r))
	})
}

// vaultClass has a Vault, which signing keys of the cases and samples are in.
func vaultClass() v1alpha1.SidecarClassSpec {
	return v1alpha1.SidecarClassSpec{Vault: &v1alpha1.Vault{Address: "https://127.0.0.1:1", Auth: v1alpha1.VaultAuth{Kubernetes: &v1alpha1.VaultKubernetes{Role: "postern"}}}}
}

// repair changes what a case of no-sidecar-runs.jsonl is refused for to what its message says to write.
func repair(name string, spec *v1alpha1.SecurityPolicySpec, inline string) bool {
	repairs := map[string]func(){
		"path ":         func() { spec.Authorization.Rules[0].Match[0].Paths[0] = "/admin" },
		"origin ":       func() { spec.CORS.AllowOrigins[0] = "https://a.example" },
		"cors expose ":  func() { spec.CORS.ExposeHeaders[0] = "X-A" },
		"jwks ":         func() { spec.JWT.Providers[0].JWKS.Inline = inline },
		"c2h ":          func() { spec.JWT.Providers[0].ClaimsToHeaders[1].Header = "X-B" },
		"limit ":        func() { spec.RateLimits[0].Limit = "1000000/second" },
		"burst ":        func() { spec.RateLimits[0].Burst = 11 },
		"header set ":   func() { spec.Headers.Set = []v1alpha1.HeaderField{{Name: "X-A", Value: "a"}} },
		"header remove": func() { spec.Headers.Remove[0] = "Server" },
		"tokens login ": func() { spec.Tokens.Login[0].Paths[0] = "/login/*" },
		"tokens issuer": func() { spec.Tokens.Issuer = "https://x.example/y" },
	}
	for prefix, change := range repairs {
		if strings.HasPrefix(name, prefix) {
			change()
			return true
		}
	}
	return false
}

// TestRepairedCasesRun: each case that is refused is accepted, and built, once it is written as the message says.
func TestRepairedCasesRun(t *testing.T) {
	shared := newShared(t)
	cases, inline := specs(t)
	for name, spec := range cases {
		t.Run(name, func(t *testing.T) {
			if runs(t, shared, spec, vaultClass()) {
				t.Error("accepted before it is repaired")
			}
			if !repair(name, &spec, inline) {
				t.Fatal("the test does not know how to repair the case")
			}
			if !runs(t, shared, spec, vaultClass()) {
				t.Error("refused when repaired")
			}
		})
	}
}

// TestSamplesAndDemoRun: the policies that people copy, under the class in their file or the sample class, and under one with a Vault.
func TestSamplesAndDemoRun(t *testing.T) {
	shared := newShared(t)
	_, inline := specs(t)
	filled := strings.NewReplacer("@JWKS@", inline, "@SIGNING_KEY@", "{transit: {key: accounts}}", "@AUDIT@", "{sinks: [Log]}", "@IMAGES@", "none", "@REPOSITORY@", "example.com", "@TAG@", "v1")
	for file, policies := range map[string]int{
		"config/samples/securitypolicy.yaml": 1, "config/samples/tokens.yaml": 1, "hack/demo/local.yaml": 1, "hack/demo/policy.yaml": 1, "hack/demo/accounts.yaml": 1,
	} {
		t.Run(file, func(t *testing.T) {
			content, err := os.ReadFile("../" + file)
			if err != nil {
				t.Fatal(err)
			}
			objects, findings, err := manifest.Read(t.Context(), []byte(filled.Replace(string(content))))
			if err != nil || len(findings) > 0 || len(objects.Policies) != policies {
				t.Fatalf("%d policies, findings %v, %v", len(objects.Policies), findings, err)
			}
			for _, p := range objects.Policies {
				if !runs(t, shared, p.Spec, vaultClass()) {
					t.Errorf("policy %s is refused", p.Name)
				}
			}
		})
	}
}
