package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/resources"
)

// choose returns one of list; the plain values stand first, and come up as often as all others together.
func choose(r *rand.Rand, plain string, others ...string) string {
	if r.IntN(4) > 0 {
		return plain
	}
	return others[r.IntN(len(others))]
}

// generate returns a spec of values that are plausible, and here and there nasty. It keeps to memory: Build opens no connection.
func generate(r *rand.Rand, inline string) v1alpha1.SecurityPolicySpec {
	match := func() []v1alpha1.RouteMatch {
		return []v1alpha1.RouteMatch{{
			Methods: []string{choose(r, "POST", "get", "*", "", "PROPFIND")},
			Paths:   []string{choose(r, "/a/*", "/", "/**", "/a/", "/a//b", "/a;b", "/a?x", "/%41", "/é", "/a**", "a", "/..", "/100%")},
		}}
	}
	header := func() string {
		return choose(r, "X-A", "x-a", "X-B", "Host", "a b", "Set-Cookie", "Vary", "X-*", "Te", "")
	}
	origin := func() string {
		return choose(r, "https://a.example", "*", "null", "http://[:::]", "http://[::1]:80", "https://a:99999", "https://A/", "app://x", "https://*.a")
	}
	spec := v1alpha1.SecurityPolicySpec{
		JWT: &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
			Name: choose(r, "corp", "postern", ""), Issuer: choose(r, "https://id.example", "https://own.example", ""), Audiences: []string{choose(r, "web", "")},
			Algorithms: []v1alpha1.Algorithm{v1alpha1.Algorithm(choose(r, "ES256", "RS256", "HS256", "none"))},
			JWKS:       v1alpha1.JWKS{Inline: choose(r, inline, "{}", "null", `{"keys":[{}]}`, "x")},
			From:       []v1alpha1.TokenLocation{{Header: choose(r, "Authorization", "Cookie", "a b"), Prefix: choose(r, "Bearer ", "")}},
			Leeway:     v1alpha1.Duration(choose(r, "30s", "", "1h", "x")), TokenTypes: []string{choose(r, "JWT", "")},
			RequiredClaims:  []v1alpha1.RequiredClaim{{Claim: choose(r, "a.b", "")}},
			ClaimsToHeaders: []v1alpha1.ClaimToHeader{{Claim: choose(r, "sub", ""), Header: header()}, {Claim: "iss", Header: header()}},
		}}},
		Authorization: &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "a", Match: match(), Require: v1alpha1.Requirement(choose(r, "Anonymous", "Deny", "Maybe"))}}},
		RateLimits: []v1alpha1.RateLimit{{
			Name: choose(r, "rl", "", "é"), Limit: v1alpha1.Rate(choose(r, "5/minute", "999999999/second", "1/744h", "0/day", "x")), Burst: []int32{0, 1, 100000, -1}[r.IntN(4)],
			Match: match(), KeyBy: []v1alpha1.RateLimitKey{{Type: v1alpha1.RateLimitKeyType(choose(r, "Header", "Claim", "Route", "X")), Name: choose(r, "X-A", "", "a b")}},
		}},
		Headers:        &v1alpha1.Headers{Preset: v1alpha1.HeaderPreset(choose(r, "Strict", "API", "None", "x")), Set: []v1alpha1.HeaderField{{Name: header(), Value: choose(r, "1", "", " a ", "a\nb")}}, Remove: []string{header()}},
		CORS:           &v1alpha1.CORS{AllowOrigins: []string{origin()}, AllowMethods: []string{choose(r, "GET", "*", "get")}, ExposeHeaders: []string{choose(r, "X-A", "*", "a b")}, AllowCredentials: r.IntN(2) == 0},
		Compression:    &v1alpha1.Compression{MinSize: v1alpha1.Size(choose(r, "1KiB", "2MiB", "x", "")), Types: []string{choose(r, "text/*", "text", "a/b;q")}},
		PasswordPolicy: &v1alpha1.PasswordPolicy{Hash: &v1alpha1.PasswordHash{Argon2id: &v1alpha1.Argon2idCost{Memory: v1alpha1.Size(choose(r, "46MiB", "19MiB", "1MiB", "900MiB")), Passes: int32(r.IntN(19)), Parallelism: int32(r.IntN(19))}}},
		Sessions:       &v1alpha1.Sessions{SubjectFrom: choose(r, "sub", "sid", "x"), AbsoluteTimeout: v1alpha1.Duration(choose(r, "24h", "1ms", "9000h", "")), MaxPerSubject: []int32{0, 3, 256, 999}[r.IntN(4)]},
	}
	// Most sections are left out of most specs, so that many are accepted.
	for _, drop := range []func(){
		func() { spec.JWT.Providers[0].ClaimsToHeaders = nil }, func() { spec.JWT.Providers[0].From = nil }, func() { spec.Authorization = nil },
		func() { spec.RateLimits = nil }, func() { spec.Headers = nil }, func() { spec.CORS = nil }, func() { spec.Compression = nil },
		func() { spec.PasswordPolicy = nil }, func() { spec.Sessions = nil },
	} {
		if r.IntN(3) > 0 {
			drop()
		}
	}
	return spec
}

// specs are the cases that were once accepted, and inline the good key set of the first.
func specs(t testing.TB) (cases []v1alpha1.SecurityPolicySpec, inline string) {
	t.Helper()
	content, err := os.ReadFile("../controllers/compile/testdata/no-sidecar-runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var c struct{ Spec v1alpha1.SecurityPolicySpec }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c.Spec)
	}
	return cases, cases[0].JWT.Providers[0].JWKS.Inline
}

// runs reports whether the spec is accepted; what is accepted must be built.
func runs(t testing.TB, shared *resources.Resources, spec v1alpha1.SecurityPolicySpec) bool {
	t.Helper()
	policy := &v1alpha1.SecurityPolicy{Spec: spec}
	policy.Namespace, policy.Name = "shop", "orders"
	p, _ := compile.Compile(policy, &v1alpha1.SidecarClass{})
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
	if err == nil {
		var s *chain.Snapshot
		if s, err = chain.Build(p, chain.Config{Resources: shared, OnlyPort: 80, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			s.Close()
		}
	}
	if err != nil {
		b, _ := json.Marshal(spec)
		t.Errorf("accepted, and no sidecar runs it: %v\n%s", err, b)
	}
	return true
}

func newShared(t testing.TB) *resources.Resources {
	t.Helper()
	shared, err := resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir()})
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
		runs(t, shared, spec)
	}
	const n = 3000
	accepted := 0
	for seed := range uint64(n) {
		if runs(t, shared, generate(rand.New(rand.NewPCG(seed, 1)), inline)) {
			accepted++
		}
	}
	if accepted < n/50 || accepted > n*9/10 {
		t.Errorf("%s specs are accepted: the test sees one side alone", fmt.Sprintf("%d of %d", accepted, n))
	}
}

// FuzzWhatIsAcceptedRuns is the same for any seed.
func FuzzWhatIsAcceptedRuns(f *testing.F) {
	shared := newShared(f)
	_, inline := specs(f)
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { runs(t, shared, generate(rand.New(rand.NewPCG(seed, 1)), inline)) })
}
