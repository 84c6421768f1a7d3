package soak

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

const (
	issuerURL = "https://id.example.com"
	audience  = "orders"
	origin    = "https://shop.example.com"
	// hostName is the name in the sidecar's certificate.
	hostName = "orders.example.com"
	// certificateSecret is the Secret with the certificate.
	certificateSecret = "orders-tls"
	// redisTimeout is long, so that Redis is unavailable only when the schedule says so, on a machine that is busy with other tests as well.
	redisTimeout = compiled.Duration(2 * time.Second)
	// people is how many users the issuer has.
	people = 50
)

// issuer signs tokens with RS256.
type issuer struct {
	key    *rsa.PrivateKey
	tokens []string
	// bad are tokens that no request may use.
	bad []string
	// strangers is how many tokens were made for users that the sidecar does not know yet.
	strangers int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	var err error
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for n := range people {
		i.tokens = append(i.tokens, i.sign(t, i.key, n, nil))
	}
	for name, value := range map[string]any{"exp": time.Now().Add(-time.Hour).Unix(), "aud": "another", "iss": "https://other.example.com"} {
		i.bad = append(i.bad, i.sign(t, i.key, 0, map[string]any{name: value}))
	}
	i.bad = append(i.bad, i.sign(t, other, 0, nil), i.tokens[0][:len(i.tokens[0])-9], "e30.e30.e30", "token")
	return i
}

// sign returns a token of the nth user, valid for a day, with the changed claims.
func (i *issuer) sign(t *testing.T, key *rsa.PrivateKey, n int, change map[string]any) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": issuerURL, "aud": audience, "sub": subject(n), "jti": fmt.Sprintf("token-%d", n), "sid": fmt.Sprintf("session-%d", n),
		"iat": time.Now().Unix(), "exp": time.Now().Add(24 * time.Hour).Unix(),
	}
	for name, value := range change {
		claims[name] = value
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "a"
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// stranger returns the token of a user that the sidecar has not seen.
func (i *issuer) stranger(t *testing.T) string {
	t.Helper()
	i.strangers++
	return i.sign(t, i.key, people+i.strangers, nil)
}

func subject(n int) string { return fmt.Sprintf("user-%d", n) }

// keys is the key set, RFC 7517.
func (i *issuer) keys(t *testing.T) json.RawMessage {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	b, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "kid": "a", "alg": "RS256", "use": "sig",
		"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// policy returns the nth version of the policy. Every response has its number in X-Revision. Odd ones differ in more.
func policy(n int64, port uint16, redis string, keys json.RawMessage) *compiled.Policy {
	seconds := func(n int) compiled.Duration { return compiled.Duration(time.Duration(n) * time.Second) }
	limit := func(path string, requests int, period compiled.Duration, onFailure compiled.FailureMode) compiled.RateLimit {
		return compiled.RateLimit{
			Name: path[1:], Match: []compiled.Match{{Paths: []string{path + "/**"}}}, Limit: requests, Burst: requests, Period: period,
			KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyClientAddress}}, Mode: compiled.Enforce, OnFailure: onFailure,
		}
	}
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: n, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Ports: []compiled.Port{{Number: port, Protocol: compiled.HTTP}},
		TLS: &compiled.TLS{Mode: compiled.TLSPermissive, MinVersion: compiled.TLS12, Certificates: []compiled.Certificate{{
			Chain: &compiled.SecretRef{Name: certificateSecret, Key: "tls.crt"}, Key: &compiled.SecretRef{Name: certificateSecret, Key: "tls.key"},
		}}},
		Providers: []compiled.Provider{{
			Name: "corp", Issuer: issuerURL, Audiences: []string{audience}, Algorithms: []string{"RS256"}, Keys: compiled.Keys{Inline: keys},
			ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Auth-Subject"}},
		}},
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "open", Match: []compiled.Match{{Paths: []string{"/open/**", "/strict/**", "/limited/**"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce},
		}},
		Sessions: &compiled.Sessions{
			IdleTimeout: seconds(3600), AbsoluteTimeout: seconds(36000), WhenFull: "EvictOldest", Bind: "None", SubjectFrom: "sid",
			OnFailure: compiled.Deny, Mode: compiled.Enforce,
		},
		Revocation: &compiled.Revocation{MaxStaleness: seconds(5), OnFailure: compiled.Deny, Mode: compiled.Enforce},
		RateLimits: []compiled.RateLimit{
			limit("/open", 1_000_000, seconds(1), compiled.Allow), limit("/strict", 1_000_000, seconds(1), compiled.Deny),
			limit("/limited", 3, seconds(3600), compiled.Allow),
		},
		Headers: &compiled.Headers{Preset: "Strict", HeaderRules: compiled.HeaderRules{Set: []compiled.HeaderField{{Name: "X-Revision", Value: strconv.FormatInt(n, 10)}}}},
		CORS:    &compiled.CORS{AllowOrigins: []string{origin}, ExposeHeaders: []string{"X-Revision"}},
		Redis:   &compiled.Redis{Mode: "Standalone", Addresses: []string{redis}, Timeout: redisTimeout},
		Sidecar: compiled.SidecarOptions{AccessLog: "All", LogLevel: "info", DrainTimeout: seconds(10)},
	}
	if n%2 == 1 {
		p.Sidecar.AccessLog = "Errors"
		p.Compression = &compiled.Compression{MinSize: 1024}
		p.CORS.MaxAge = seconds(600)
		p.RateLimits = append(p.RateLimits, limit("/another", 10, seconds(1), compiled.Allow))
	}
	return p
}
