package keyset

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Key types of RFC 7518 §6.1 and RFC 8037 §2.
const (
	typeRSA = "RSA"
	typeEC  = "EC"
	typeOKP = "OKP"
	typeOct = "oct"
)

// Names of the algorithm of Ed25519 keys (RFC 8037 §3.1, RFC 9864 §2.2).
const (
	eddsa       = "EdDSA"
	ed25519Name = "Ed25519"
)

// algorithm is what a JWS "alg" value (RFC 7518 §3.1, RFC 8037 §3.1) requires of its key.
type algorithm struct {
	name string
	// kty and crv are the JWK members that a key must have; crv is empty for RSA and oct.
	kty, crv string
	// minSecret is the minimum length of an HMAC secret, in bytes (RFC 7518 §3.2).
	minSecret int
	method    jwt.SigningMethod
}

// algorithmOf returns an algorithm that may sign tokens, by name. "none" is not one of them.
func algorithmOf(name string) (algorithm, bool) {
	a := algorithm{name: name}
	switch name {
	case "RS256", "RS384", "RS512":
		a.kty, a.method = typeRSA, jwt.GetSigningMethod(name)
	case "PS256":
		a.kty, a.method = typeRSA, pss(jwt.SigningMethodPS256)
	case "PS384":
		a.kty, a.method = typeRSA, pss(jwt.SigningMethodPS384)
	case "PS512":
		a.kty, a.method = typeRSA, pss(jwt.SigningMethodPS512)
	case "ES256":
		a.kty, a.crv, a.method = typeEC, "P-256", jwt.SigningMethodES256
	case "ES384":
		a.kty, a.crv, a.method = typeEC, "P-384", jwt.SigningMethodES384
	case "ES512":
		a.kty, a.crv, a.method = typeEC, "P-521", jwt.SigningMethodES512
	case eddsa, ed25519Name: // RFC 9864 §2.2 names the curve; EdDSA is the older name
		a.kty, a.crv, a.method = typeOKP, "Ed25519", jwt.SigningMethodEdDSA
	case "HS256":
		a.kty, a.minSecret, a.method = typeOct, 32, jwt.SigningMethodHS256
	case "HS384":
		a.kty, a.minSecret, a.method = typeOct, 48, jwt.SigningMethodHS384
	case "HS512":
		a.kty, a.minSecret, a.method = typeOct, 64, jwt.SigningMethodHS512
	default:
		return algorithm{}, false
	}
	return a, true
}

// pss returns m for signatures whose salt is as long as the hash (RFC 7518 §3.5). The library's own value accepts any salt
// length when it verifies.
func pss(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: m.Hash},
	}
}

// CheckAlgorithms refuses a provider's list of algorithms if it is empty, has an unknown algorithm (names are case-sensitive,
// RFC 7518 §3.1) or the same one twice, or mixes HMAC with public keys: anyone with a public key could then sign tokens
// (RFC 8725 §2.1).
func CheckAlgorithms(names []string) error {
	if len(names) == 0 {
		return errors.New("the list is empty; write at least one algorithm, for example [RS256]")
	}
	seen := map[string]bool{}
	symmetric := 0
	for _, name := range names {
		a, ok := algorithmOf(name)
		if !ok {
			return fmt.Errorf("%q is not a known algorithm; write one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, HS256, HS384, HS512", name)
		}
		if seen[name] {
			return fmt.Errorf("%s is in the list twice; leave one out", name)
		}
		seen[name] = true
		if a.kty == typeOct {
			symmetric++
		}
	}
	if symmetric != 0 && symmetric != len(names) {
		return errors.New("HS* algorithms (a shared secret) cannot be used together with public-key algorithms in one provider; write for example [RS256] or [HS256]")
	}
	return nil
}

// Symmetric reports whether names, which CheckAlgorithms accepted, are HMAC algorithms.
func Symmetric(names []string) bool {
	a, _ := algorithmOf(names[0])
	return a.kty == typeOct
}

// choose returns the algorithms of a key (RFC 8725 §3.1), among those that the provider allows. That is the key's own "alg".
// Without one, it is the only allowed algorithm that fits the key. If several fit an RSA key, it is RS256, the default of
// OpenID Connect issuers (OpenID Connect Core §2, Discovery §3). In any other case the key cannot be used. An Ed25519 key has both
// names of its algorithm, whichever of them it states.
func choose(allowed []string, kty, crv, alg string) ([]algorithm, error) {
	var fitting []algorithm
	for _, name := range allowed {
		if a, ok := algorithmOf(name); ok && a.kty == kty && a.crv == crv {
			fitting = append(fitting, a)
		}
	}
	if alg != "" {
		return chooseStated(fitting, kty, crv, alg)
	}
	switch {
	case len(fitting) == 0:
		return nil, refuse(OtherAlgorithm, "the provider allows no algorithm for its kty and crv")
	case len(fitting) == 1, kty == typeOKP:
		return fitting, nil
	}
	for _, a := range fitting {
		if a.name == "RS256" {
			return []algorithm{a}, nil
		}
	}
	return nil, refuse(OtherAlgorithm, "it has no alg, and the provider allows several that fit; allow one, or add alg to the key")
}

// encrypts reports whether alg is one that encrypts keys (RFC 7518 §4.1, and the registry of JSON Web Algorithms).
func encrypts(alg string) bool {
	switch alg {
	case "RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512", "A128KW", "A192KW", "A256KW", "dir",
		"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW", "A128GCMKW", "A192GCMKW", "A256GCMKW",
		"PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW":
		return true
	}
	return false
}

func chooseStated(fitting []algorithm, kty, crv, alg string) ([]algorithm, error) {
	own, ok := algorithmOf(alg)
	switch {
	case encrypts(alg):
		return nil, refuse(OtherUse, "it is for encryption (alg: %s)", alg)
	case !ok:
		return nil, refuse(OtherAlgorithm, "its alg is not supported")
	case own.kty != kty || own.crv != crv:
		return nil, refuse(OtherAlgorithm, "its alg does not fit its kty and crv")
	case kty == typeOKP && len(fitting) > 0:
		return fitting, nil
	}
	for _, a := range fitting {
		if a.name == alg {
			return []algorithm{a}, nil
		}
	}
	return nil, refuse(OtherAlgorithm, "its alg %s is not allowed by the provider", alg)
}
