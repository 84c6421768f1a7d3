package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"
	"testing"
)

// jwk is a key as a test writes it.
type jwk map[string]any

func (k jwk) with(name string, value any) jwk {
	k = maps.Clone(k)
	k[name] = value
	return k
}

func (k jwk) without(name string) jwk {
	k = maps.Clone(k)
	delete(k, name)
	return k
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// keyset writes a JWK set.
func keyset(t testing.TB, keys ...jwk) []byte {
	t.Helper()
	if keys == nil {
		keys = []jwk{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testRSA is generated once, because generating it is slow.
var testRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := testRSA()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaJWK(t testing.TB, kid string) jwk {
	key := rsaKey(t)
	return jwk{"kty": "RSA", "kid": kid, "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

func ecJWK(t testing.TB, kid string, curve elliptic.Curve) (jwk, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := len(point) / 2
	return jwk{"kty": "EC", "kid": kid, "crv": curve.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}, key
}

func edJWK(t testing.TB, kid string) (jwk, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jwk{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(public)}, private
}

// sign signs text like an issuer.
func sign(t testing.TB, alg, text string, key crypto.PrivateKey) []byte {
	t.Helper()
	a, ok := algorithmOf(alg)
	if !ok {
		t.Fatalf("unknown algorithm %s", alg)
	}
	sig, err := a.method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// document writes a set of any elements.
func document(t testing.TB, keys ...any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
