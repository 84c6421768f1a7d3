//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuerName is the iss of valid tokens.
const issuerName = "https://id.example.com"

// issuer signs tokens with one ES256 key.
type issuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	kid string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, key: key, kid: rand.Text()}
}

// jwks returns the public key as a JSON Web Key Set.
func (i *issuer) jwks() string {
	i.t.Helper()
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		i.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": i.kid, "x": b64(point[1:33]), "y": b64(point[33:]),
	}}})
	if err != nil {
		i.t.Fatal(err)
	}
	return string(set)
}

// token returns a valid token of a subject, with changes to its claims.
func (i *issuer) token(subject string, changes ...jwt.MapClaims) string {
	i.t.Helper()
	return i.sign(jwt.SigningMethodES256, i.key, claims(subject, changes...))
}

// sign signs any token. Its typ is JWT unless typ is set.
func (i *issuer) sign(method jwt.SigningMethod, key any, content jwt.MapClaims, typ ...string) string {
	i.t.Helper()
	token := jwt.NewWithClaims(method, content)
	token.Header["kid"] = i.kid
	for _, t := range typ {
		token.Header["typ"] = t
	}
	signed, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	secrets.addToken("a token of an issuer", signed)
	return signed
}

// claims returns the claims of a valid token, with changes.
func claims(subject string, changes ...jwt.MapClaims) jwt.MapClaims {
	now := time.Now()
	content := jwt.MapClaims{
		"iss": issuerName, "aud": []string{"orders"}, "sub": subject, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix(), "realm": map[string]any{"roles": []string{"buyer", "clerk"}},
	}
	private := "private-" + rand.Text()
	secrets.add("a claim", private)
	content["private"] = private
	for _, c := range changes {
		maps.Copy(content, c)
	}
	return content
}

// bearer returns the request header with a token.
func bearer(token string) string { return "Authorization: Bearer " + token }
