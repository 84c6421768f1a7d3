package chain

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
)

// privatePEM encodes a key in the format of openssl.
func privatePEM(t testing.TB, key any, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func ecPEM(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return privatePEM(t, key, err)
}

func rsaPEM(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return privatePEM(t, key, err)
}

func edPEM(t testing.TB) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return privatePEM(t, key, err)
}

// TestAlgorithms runs a login from start to end with each algorithm, and verifies the tokens with a third-party library.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key func(testing.TB) []byte
		// wantKeyType is the kty in the key set; empty if nothing is published.
		wantKeyType string
	}{
		"ES256": {key: ecPEM, wantKeyType: "EC"},
		"RS256": {key: rsaPEM, wantKeyType: "RSA"},
		"PS256": {key: rsaPEM, wantKeyType: "RSA"},
		"EdDSA": {key: edPEM, wantKeyType: "OKP"},
		"HS256": {key: func(testing.TB) []byte { return []byte(hmacSecret) }},
	}
	for algorithm, tt := range tests {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.writeSecret("signing", "key.pem", tt.key(t))
			s := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Tokens.Algorithm = algorithm })).ready()
			ada := s.login("ada")
			g := s.refresh(ada)
			next := tokens{g.field("access_token"), g.field("refresh_token")}
			if g.status != 200 || sid(t, next.access) != sid(t, ada.access) {
				t.Fatalf("refreshing: %d %s", g.status, g.text)
			}
			if again := s.refresh(next); again.status != 200 {
				t.Errorf("refreshing with the refreshed token: %d %s", again.status, again.text)
			}
			for who, tokens := range map[string]tokens{"the login's": ada, "the refresh's": next} {
				if g := s.use(tokens); g.status != 200 {
					t.Errorf("using %s token: %d %s", who, g.status, g.text)
				}
				g := s.loopback("POST", "/v1/introspect", `{"token":"`+tokens.access+`"}`)
				if g.json["active"] != true || g.field("sub") != "ada" || g.field("sid") != sid(t, ada.access) {
					t.Errorf("introspecting %s token: %d %s", who, g.status, g.text)
				}
				if tt.wantKeyType == "" {
					verifyBySecret(t, tokens.access)
				} else {
					s.verifyByKeySet(algorithm, tokens.access)
				}
			}
			if got := s.keyTypes(algorithm); tt.wantKeyType == "" && len(got) != 0 || tt.wantKeyType != "" && !slices.Equal(got, []string{tt.wantKeyType}) {
				t.Errorf("published key types %q; want %q", got, tt.wantKeyType)
			}
			s.discovers(algorithm)
		})
	}
}

// verifyByKeySet verifies in the way of a service that loads the keys by their URL. It accepts only the one algorithm.
func (s *sidecar) verifyByKeySet(algorithm, raw string) {
	t := s.world.t
	t.Helper()
	ctx := context.Background()
	keys := oidc.NewRemoteKeySet(ctx, s.url+"/.well-known/jwks.json")
	for _, supported := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		v := oidc.NewVerifier(ownIssuer, keys, &oidc.Config{ClientID: "orders", SupportedSigningAlgs: []string{supported}})
		token, err := v.Verify(ctx, raw)
		if (err == nil) != (supported == algorithm) {
			t.Errorf("verifying by %s: %v", supported, err)
		}
		if err == nil && token.Subject != "ada" {
			t.Errorf("verified subject %q", token.Subject)
		}
	}
	if _, err := keys.VerifySignature(ctx, raw[:len(raw)-8]+"AAAAAAAA"); err == nil {
		t.Error("a changed signature was verified")
	}
}

// verifyBySecret verifies in the way of a service that has the shared secret.
func verifyBySecret(t *testing.T, raw string) {
	t.Helper()
	_, err := jwt.Parse(raw, func(*jwt.Token) (any, error) { return []byte(hmacSecret), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(ownIssuer), jwt.WithAudience("orders"), jwt.WithExpirationRequired())
	if err != nil {
		t.Errorf("verifying by the secret: %v", err)
	}
}

// keyTypes returns the types of the published keys, and checks that none has a private part.
func (s *sidecar) keyTypes(algorithm string) (types []string) {
	t := s.world.t
	t.Helper()
	g := s.send(sent{method: "GET", path: "/.well-known/jwks.json"})
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(g.text), &set); err != nil || g.status != 200 {
		t.Fatalf("the key set: %d %s, %v", g.status, g.text, err)
	}
	for _, key := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if key[private] != nil {
				t.Errorf("the key set has the private member %s", private)
			}
		}
		if key["alg"] != algorithm || key["use"] != "sig" || key["kid"] == "" {
			t.Errorf("published %v", key)
		}
		kind, _ := key["kty"].(string)
		types = append(types, kind)
	}
	return types
}

// discovers checks that discovery names the algorithm.
func (s *sidecar) discovers(algorithm string) {
	t := s.world.t
	t.Helper()
	g := s.send(sent{method: "GET", path: "/.well-known/openid-configuration"})
	named, _ := g.json["id_token_signing_alg_values_supported"].([]any)
	if g.status != 200 || len(named) != 1 || named[0] != algorithm || g.field("jwks_uri") != ownIssuer+"/.well-known/jwks.json" {
		t.Errorf("discovery: %d %s", g.status, g.text)
	}
}
