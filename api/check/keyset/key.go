package keyset

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Bounds of an RSA key: its modulus in bits, and its exponent. The minimum modulus is that of RFC 7518 §3.3. The maximum keeps a
// verification short. crypto/rsa does not support exponents above 2³¹−1.
const (
	minModulus  = 2048
	maxModulus  = 8192
	minExponent = 3
	maxExponent = 1<<31 - 1
)

// Key verifies the signatures of one key with its one algorithm. It is immutable.
type Key struct {
	id        string
	algorithm algorithm
	material  any
	// print is a fingerprint of the key's ID, algorithm and material.
	print [sha256.Size]byte
}

// ID returns the key's "kid", or an empty string.
func (k *Key) ID() string { return k.id }

// Algorithm returns the only "alg" that a token signed by k may have.
func (k *Key) Algorithm() string { return k.algorithm.name }

// Verify verifies sig over signed, the token up to its second dot. The error contains nothing of the input.
func (k *Key) Verify(signed string, sig []byte) error {
	if err := k.algorithm.method.Verify(signed, sig, k.material); err != nil {
		return fmt.Errorf("verifying %s signature: %w", k.algorithm.name, err)
	}
	return nil
}

// Format prints the key's ID and algorithm. No verb prints its material, which may be a secret.
func (k *Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q (%s)", k.id, k.algorithm.name)
}

// newKey returns the key of one JWK. The error says why the key cannot be used, and contains none of its values.
func newKey(jwk map[string]any, allowed []string) (*Key, error) {
	if err := purpose(jwk); err != nil {
		return nil, err
	}
	text := texts{jwk: jwk}
	kty, alg := text.get("kty"), text.get("alg")
	crv := ""
	if kty == typeEC || kty == typeOKP {
		crv = text.get("crv")
	}
	id := text.get("kid")
	if text.err != nil {
		return nil, text.err
	}
	a, err := choose(allowed, kty, crv, alg)
	if err != nil {
		return nil, err
	}
	material, raw, err := decode(jwk, a)
	if err != nil {
		return nil, err
	}
	return makeKey(id, a, material, raw), nil
}

func makeKey(id string, a algorithm, material any, raw []byte) *Key {
	k := &Key{id: id, algorithm: a, material: material}
	k.print = sha256.Sum256(fmt.Appendf(nil, "%s %d %s %s", a.name, len(id), id, raw))
	return k
}

// purpose refuses a key that is not meant to verify signatures (RFC 7517 §4.2, §4.3).
func purpose(jwk map[string]any) error {
	if use, ok := jwk["use"]; ok && use != "sig" {
		return errors.New("its use is not sig")
	}
	ops, ok := jwk["key_ops"]
	if !ok {
		return nil
	}
	list, _ := ops.([]any)
	for _, op := range list {
		if op == "verify" {
			return nil
		}
	}
	return errors.New("its key_ops do not contain verify")
}

// texts reads optional members that must be strings. err is the error of the first one that is not.
type texts struct {
	jwk map[string]any
	err error
}

func (t *texts) get(name string) string {
	v, ok := t.jwk[name]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok && t.err == nil {
		t.err = fmt.Errorf("its %s is not a string", name)
	}
	return s
}

// decode returns the key's material for its algorithm's method, and the bytes that identify it.
func decode(jwk map[string]any, a algorithm) (material any, raw []byte, err error) {
	switch a.kty {
	case typeRSA:
		return decodeRSA(jwk)
	case typeEC:
		return decodeEC(jwk, a.crv)
	case typeOKP:
		x, err := octets(jwk, "x")
		if err == nil && len(x) != ed25519.PublicKeySize {
			err = errors.New("its x has the wrong length")
		}
		return ed25519.PublicKey(x), x, err
	default:
		k, err := octets(jwk, "k")
		if err == nil {
			err = secretLength(k, a)
		}
		return k, k, err
	}
}

func decodeRSA(jwk map[string]any) (*rsa.PublicKey, []byte, error) {
	n, err := octets(jwk, "n")
	if err != nil {
		return nil, nil, err
	}
	e, err := octets(jwk, "e")
	if err != nil {
		return nil, nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch {
	case modulus.BitLen() < minModulus || modulus.BitLen() > maxModulus:
		return nil, nil, fmt.Errorf("its modulus is not between %d and %d bits", minModulus, maxModulus)
	case modulus.Bit(0) == 0:
		return nil, nil, errors.New("its modulus is even")
	case exponent.BitLen() > 31 || exponent.Int64() < minExponent || exponent.Int64() > maxExponent || exponent.Bit(0) == 0:
		return nil, nil, fmt.Errorf("its exponent is not an odd number between %d and %d", minExponent, maxExponent)
	}
	raw := append(append(modulus.Bytes(), 0), exponent.Bytes()...)
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, raw, nil
}

func decodeEC(jwk map[string]any, crv string) (*ecdsa.PublicKey, []byte, error) {
	x, err := octets(jwk, "x")
	if err != nil {
		return nil, nil, err
	}
	y, err := octets(jwk, "y")
	if err != nil {
		return nil, nil, err
	}
	curve, size := elliptic.P256(), 32
	switch crv {
	case "P-384":
		curve, size = elliptic.P384(), 48
	case "P-521":
		curve, size = elliptic.P521(), 66
	}
	if len(x) != size || len(y) != size { // RFC 7518 §6.2.1.2: always the curve's full length
		return nil, nil, errors.New("its x or y has the wrong length")
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, nil, errors.New("its point is not on the curve")
	}
	return key, point, nil
}

func secretLength(k []byte, a algorithm) error {
	if len(k) < a.minSecret {
		return fmt.Errorf("its secret has %d bytes, but %s needs at least %d (RFC 7518 §3.2)", len(k), a.name, a.minSecret)
	}
	return nil
}

// octets strictly decodes a member in base64url without padding.
func octets(jwk map[string]any, name string) ([]byte, error) {
	s, ok := jwk[name].(string)
	if !ok || s == "" {
		return nil, fmt.Errorf("it has no %s", name)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		return nil, fmt.Errorf("its %s is not base64url without padding", name)
	}
	return b, nil
}
