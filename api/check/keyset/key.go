package keyset

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"
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

// Key verifies the signatures of one key with one algorithm. It is safe for concurrent use.
type Key struct {
	id        string
	algorithm algorithm
	material  any
	// strength is nil if the material passed every check when the set was parsed. Otherwise the first valid signature causes the
	// slow check of an RSA modulus.
	strength *strength
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
	if k.strength != nil {
		if err := k.strength.check(); err != nil {
			return fmt.Errorf("verifying %s signature: checking the key: %w", k.algorithm.name, err)
		}
	}
	return nil
}

// Format prints the key's ID and algorithm. No verb prints its material, which may be a secret.
func (k *Key) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "key %q (%s)", k.id, k.algorithm.name)
}

// header has the members of a JWK that decide whether and how it is used.
type header struct{ id, kty, crv, alg string }

// readHeader refuses a key that is not meant to verify signatures of issuer's tokens (RFC 7517 §4.2, §4.3), and members that are not
// texts. Null members were removed from jwk.
func readHeader(jwk map[string]any, issuer string) (header, error) {
	switch use, ok := jwk["use"]; {
	case use == "enc":
		return header{}, refuse(OtherUse, "it is for encryption (use: enc)")
	case ok && use != "sig":
		return header{}, refuse(OtherUse, "its use is not sig")
	}
	if ops, ok := jwk["key_ops"]; ok {
		list, _ := ops.([]any)
		if !slices.Contains(list, any("verify")) {
			return header{}, refuse(OtherUse, "its key_ops do not contain verify")
		}
	}
	var h header
	names := map[string]*string{"kid": &h.id, "kty": &h.kty, "alg": &h.alg}
	if jwk["kty"] == typeEC || jwk["kty"] == typeOKP {
		names["crv"] = &h.crv
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		v, ok := jwk[name]
		if !ok {
			continue
		}
		if *names[name], ok = v.(string); !ok {
			return header{}, refuse(Malformed, "its %s is not a string", name)
		}
	}
	if of, ok := jwk["issuer"]; ok && !ofIssuer(of, issuer) {
		return header{}, refuse(OtherIssuer, "its issuer is not the provider's")
	}
	return h, nil
}

// ofIssuer reports whether a key with this issuer member is for the provider's issuer. Microsoft's key sets that serve many tenants
// have the member. Its text {tenantid} stands for the ID of any tenant.
func ofIssuer(member any, issuer string) bool {
	const tenant = "{tenantid}"
	text, _ := member.(string)
	before, after, template := strings.Cut(text, tenant)
	if !template {
		return text != "" && text == issuer
	}
	rest, ok := strings.CutPrefix(issuer, before)
	if !ok {
		return false
	}
	id, ok := strings.CutSuffix(rest, after)
	return ok && id != "" && !strings.Contains(id, "/")
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
		if err != nil {
			return nil, nil, err
		}
		if len(x) != ed25519.PublicKeySize {
			return nil, nil, refuse(Malformed, "its x has the wrong length")
		}
		return ed25519.PublicKey(x), x, checkEd25519(x)
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
		return nil, nil, refuse(Weak, "its modulus is not between %d and %d bits", minModulus, maxModulus)
	case exponent.BitLen() > 31 || exponent.Int64() < minExponent || exponent.Int64() > maxExponent || exponent.Bit(0) == 0:
		return nil, nil, refuse(Weak, "its exponent is not an odd number between %d and %d", minExponent, maxExponent)
	}
	if err := checkModulus(modulus); err != nil {
		return nil, nil, err
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
		return nil, nil, refuse(Malformed, "its x or y has the wrong length")
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, nil, refuse(Malformed, "its point is not on the curve")
	}
	return key, point, nil
}

func secretLength(k []byte, a algorithm) error {
	if len(k) < a.minSecret {
		return refuse(Weak, "its secret has %d bytes, but %s needs at least %d (RFC 7518 §3.2)", len(k), a.name, a.minSecret)
	}
	return nil
}

// octets strictly decodes a member in base64url without padding.
func octets(jwk map[string]any, name string) ([]byte, error) {
	s, ok := jwk[name].(string)
	if !ok || s == "" {
		return nil, refuse(Malformed, "it has no %s", name)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		return nil, refuse(Malformed, "its %s is not base64url without padding", name)
	}
	return b, nil
}
