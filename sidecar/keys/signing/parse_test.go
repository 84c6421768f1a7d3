package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func secretBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 128)
	}
	return b
}

func TestParse(t *testing.T) {
	ec, rsa2048 := ecKey(t), testRSA(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	ecparam := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42}}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)
	tests := map[string]struct {
		algorithm Algorithm
		content   []byte
		wantKeys  int
		wantID    string
	}{
		"PKCS#8 EC":       {ES256, pkcs8(t, ec), 1, ""},
		"PKCS#8 Ed25519":  {EdDSA, pkcs8(t, ed), 1, ""},
		"PKCS#8 RSA":      {RS256, pkcs8(t, rsa2048), 1, ""},
		"PKCS#1":          {PS256, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsa2048)}), 1, ""},
		"openssl ecparam": {ES256, ecparam, 1, ""},
		"two PEM blocks":  {ES256, append(pkcs8(t, ecKey(t)), pkcs8(t, ec)...), 2, ""},
		"JWK":             {ES256, encode(t, jwk(t, ec, map[string]any{"kid": "a", "alg": "ES256", "use": "sig", "key_ops": []string{"sign"}, "iat": 5})), 1, "a"},
		"JWK set":         {ES256, set(t, jwk(t, ec, map[string]any{"kid": "a"}), jwk(t, ecKey(t), nil)), 2, "a"},
		"JWK RSA":         {PS256, encode(t, jwk(t, rsa2048, nil)), 1, ""},
		"JWK Ed25519":     {EdDSA, encode(t, jwk(t, ed, nil)), 1, ""},
		"JWK oct":         {HS256, encode(t, jwk(t, secretBytes(t, 32), map[string]any{"kid": "h"})), 1, "h"},
		"raw secret":      {HS256, secretBytes(t, 32), 1, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := &history{}
			h.set(nil, content(tt.content))
			r := newRing(t, newClock(), StoredKeys{Secrets: h, Algorithm: tt.algorithm}, func(c *Config) { c.Algorithm = tt.algorithm })
			refresh(t, r)
			if got := len(r.Status().Published); got != tt.wantKeys {
				t.Errorf("%d keys; want %d", got, tt.wantKeys)
			}
			signer, err := r.Current()
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(t, signer, r); err != nil {
				t.Error(err)
			}
			if tt.wantID != "" && r.Status().Published[0] != tt.wantID {
				t.Errorf("kids are %v; want %s first", r.Status().Published, tt.wantID)
			}
			if text := fmt.Sprintf("%v %+v %#v", signer, signer, signer); len(text) > 400 {
				t.Errorf("a printed signer shows more than its name: %s", text)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	ec, rsa2048 := ecKey(t), testRSA(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	one := func(key any, more map[string]any) []byte { return encode(t, jwk(t, key, more)) }
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}, D: big.NewInt(3), Primes: []*big.Int{big.NewInt(3), big.NewInt(5)}}
	tests := map[string]struct {
		algorithm Algorithm
		content   []byte
		want      string
	}{
		"empty":                 {ES256, nil, "neither PEM"},
		"text":                  {ES256, []byte("hello"), "neither PEM"},
		"too large":             {ES256, make([]byte, maxContent+1), "larger than"},
		"PEM and text":          {ES256, append(pkcs8(t, ec), "rubbish"...), "outside of PEM blocks"},
		"public PEM":            {ES256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), "not a private key"},
		"encrypted PEM":         {ES256, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "unencrypted"},
		"broken PKCS#8":         {ES256, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "not a valid private key"},
		"P-384 for ES256":       {ES256, pkcs8(t, p384), "EC key on P-256"},
		"EC for RS256":          {RS256, pkcs8(t, ec), "RSA key"},
		"RSA for ES256":         {ES256, pkcs8(t, rsa2048), "EC key"},
		"Ed25519 for ES256":     {ES256, pkcs8(t, ed), "EC key"},
		"PEM for HS256":         {HS256, pkcs8(t, ec), "secret"},
		"RSA of 1024 bits":      {RS256, one(small, nil), "2048"},
		"short secret":          {HS256, secretBytes(t, 31), "31 bytes"},
		"typed secret":          {HS256, []byte(strings.Repeat("secret", 6)), "not random"},
		"same key twice":        {ES256, append(pkcs8(t, ec), pkcs8(t, ec)...), "kid of another"},
		"same kid":              {ES256, set(t, jwk(t, ec, map[string]any{"kid": "a"}), jwk(t, ecKey(t), map[string]any{"kid": "a"})), "kid of another"},
		"empty set":             {ES256, []byte(`{"keys":[]}`), "0 keys"},
		"keys not an array":     {ES256, []byte(`{"keys":1}`), "not an array"},
		"key not an object":     {ES256, []byte(`{"keys":[1]}`), "key 0"},
		"too many keys":         {ES256, []byte(`{"keys":[` + strings.Repeat("1,", maxVersions) + `1]}`), "more than"},
		"duplicate member":      {ES256, []byte(`{"kty":"EC","kty":"EC"}`), "twice"},
		"public JWK":            {ES256, one(ec, map[string]any{"d": ""}), "its d"},
		"another d":             {ES256, one(ec, map[string]any{"d": jwk(t, ecKey(t), nil)["d"]}), "does not belong"},
		"d of no key":           {ES256, one(ec, map[string]any{"d": b64.EncodeToString(make([]byte, 32))}), "not a key on P-256"},
		"another crv":           {ES256, one(ec, map[string]any{"crv": "P-384"}), "crv"},
		"another x, Ed25519":    {EdDSA, one(ed, map[string]any{"x": b64.EncodeToString(make([]byte, 32))}), "does not belong"},
		"short d, Ed25519":      {EdDSA, one(ed, map[string]any{"d": "AAAA"}), "wrong length"},
		"crv, OKP":              {EdDSA, one(ed, map[string]any{"crv": "X25519"}), "crv"},
		"RSA without primes":    {RS256, one(rsa2048, map[string]any{"p": ""}), "its p"},
		"RSA, more primes":      {RS256, one(rsa2048, map[string]any{"oth": []any{}}), "two primes"},
		"RSA, another d":        {RS256, one(rsa2048, map[string]any{"d": "AQAB"}), "inconsistent"},
		"RSA, e=3":              {RS256, one(rsa2048, map[string]any{"e": "Aw"}), "exponent"},
		"RSA, huge e":           {RS256, one(rsa2048, map[string]any{"e": "AQAAAAAAAA"}), "too large"},
		"another alg":           {ES256, one(ec, map[string]any{"alg": "ES384"}), "alg"},
		"use enc":               {ES256, one(ec, map[string]any{"use": "enc"}), "use"},
		"key_ops verify":        {ES256, one(ec, map[string]any{"key_ops": []string{"verify"}}), "key_ops"},
		"kid is a number":       {ES256, one(ec, map[string]any{"kid": 1}), "its kid"},
		"long kid":              {ES256, one(ec, map[string]any{"kid": strings.Repeat("k", maxKeyID+1)}), "its kid"},
		"kty":                   {ES256, one(ec, map[string]any{"kty": "AKP"}), "kty"},
		"iat text":              {ES256, one(ec, map[string]any{"iat": "now"}), "iat"},
		"iat negative":          {ES256, one(ec, map[string]any{"iat": -1}), "iat"},
		"padded base64":         {ES256, one(ec, map[string]any{"d": jwk(t, ec, nil)["d"].(string) + "="}), "base64url"},
		"base64 with new lines": {ES256, one(ec, map[string]any{"d": "\n" + jwk(t, ec, nil)["d"].(string)}), "base64url"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.content, tt.algorithm)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
}

// TestThumbprint is the example of RFC 7638 §3.1.
func TestThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	modulus, err := b64.DecodeString(n)
	if err != nil {
		t.Fatal(err)
	}
	got, err := thumbprint(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537})
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || got != want {
		t.Errorf("thumbprint = %s, %v; want %s", got, err, want)
	}
}

// FuzzParse checks that the parser does not panic, that errors do not quote the content, and that accepted keys can sign.
func FuzzParse(f *testing.F) {
	ec := ecKey(f)
	f.Add(pkcs8(f, ec), string(ES256))
	f.Add(set(f, jwk(f, ec, map[string]any{"kid": "a", "iat": 1})), string(ES256))
	f.Add([]byte(`{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`), string(HS256))
	f.Add([]byte(`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`), string(RS256))
	f.Fuzz(func(t *testing.T, content []byte, algorithm string) {
		a := Algorithm(algorithm)
		if a != ES256 && a != RS256 && a != EdDSA && a != PS256 {
			a = HS256
		}
		versions, err := parse(content, a)
		if err != nil {
			if len(content) > 16 && strings.Contains(err.Error(), string(content)) {
				t.Errorf("the error quotes the content")
			}
			return
		}
		for _, v := range versions {
			if _, err := v.Signer.Sign(t.Context(), []byte("x")); err != nil {
				t.Errorf("an accepted key cannot sign: %v", err)
			}
		}
	})
}
