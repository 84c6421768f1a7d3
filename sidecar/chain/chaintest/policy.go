// Package chaintest has the policies by which the cost of a request is known, for tests and benchmarks of several packages.
package chaintest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// The policies.
const (
	NoSections         = "no sections"
	Token              = "RS256 warm"
	EverythingInMemory = "everything in memory"
)

// Names returns the names of the policies, from the cheapest on.
func Names() []string { return []string{NoSections, Token, EverythingInMemory} }

// Policy returns the policy of a name, and the value of Authorization that it accepts.
func Policy(t testing.TB, name string) (p *compiled.Policy, authorization string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p = withToken(key)
	switch name {
	case NoSections:
		p.Providers, p.Authorization = nil, compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce}
	case Token:
	case EverythingInMemory:
		addEverything(p)
	default:
		t.Fatalf("there is no policy %q", name)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "orders", "sub": "ada", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "k"
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return p, "Bearer " + signed
}

func withToken(key *rsa.PrivateKey) *compiled.Policy {
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Providers: []compiled.Provider{{
			Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"RS256"}, Keys: compiled.Keys{Inline: rsaKeys(key)},
			ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Auth-Subject"}}, ForwardToken: true,
		}},
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "Errors", LogLevel: "info"},
	}
}

func addEverything(p *compiled.Policy) {
	p.Revocation = &compiled.Revocation{MaxStaleness: compiled.Duration(5 * time.Second), OnFailure: compiled.Deny, Mode: compiled.Enforce}
	p.Sessions = &compiled.Sessions{
		SubjectFrom: "sub", IdleTimeout: compiled.Duration(time.Hour), AbsoluteTimeout: compiled.Duration(24 * time.Hour), WhenFull: "EvictOldest",
		Bind: "None", OnFailure: compiled.Deny, Mode: compiled.Enforce,
	}
	for name, by := range map[string]compiled.RateLimitKey{"clients": {Type: compiled.KeyClientAddress}, "callers": {Type: compiled.KeySubject}} {
		p.RateLimits = append(p.RateLimits, compiled.RateLimit{
			Name: name, Limit: 1_000_000, Burst: 1_000_000, Period: compiled.Duration(time.Second), KeyBy: []compiled.RateLimitKey{by},
			Mode: compiled.Enforce, OnFailure: compiled.Allow,
		})
	}
	p.Headers = &compiled.Headers{Preset: "Strict"}
	p.CORS = &compiled.CORS{AllowOrigins: []string{"https://app.example.com"}, AllowMethods: []string{"GET"}, AllowCredentials: true}
}

func rsaKeys(key *rsa.PrivateKey) json.RawMessage {
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"k","alg":"RS256","n":%q,"e":%q}]}`, b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes()))
}
