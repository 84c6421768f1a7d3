package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Thumbprint is the SHA-256 thumbprint of a JSON Web Key (RFC 7638), which the claim cnf.jkt of a token has.
type Thumbprint [sha256.Size]byte

// ParseThumbprint reads a thumbprint in base64url.
func ParseThumbprint(text string) (Thumbprint, error) {
	var t Thumbprint
	if len(text) != base64.RawURLEncoding.EncodedLen(len(t)) || !isBase64URL(text) {
		return t, errors.New("it is not a SHA-256 in base64url")
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(text)); err != nil {
		return t, errors.New("it is not a SHA-256 in base64url")
	}
	return t, nil
}

// String returns the thumbprint in base64url.
func (t Thumbprint) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// publicMembers returns the members of a key that its thumbprint is made of, in the form of RFC 7638 §3. A key with private members is refused
// (RFC 9449 §4.2), and so is one that says it is for another algorithm or for encryption.
func publicMembers(jwk map[string]any, algorithm string) ([]byte, error) {
	if jwk == nil {
		return nil, Problem("its header has no jwk")
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := jwk[name]; ok {
			return nil, Problem("its jwk has private members")
		}
	}
	if alg, stated := jwk["alg"]; stated && alg != algorithm {
		return nil, Problem("its jwk is for another algorithm")
	}
	if use, stated := jwk["use"]; stated && use != "sig" {
		return nil, Problem("its jwk is for another use")
	}
	var names []string // in the order of RFC 7638 §3.3
	switch jwk["kty"] {
	case "EC":
		names = []string{"crv", "kty", "x", "y"}
	case "RSA":
		names = []string{"e", "kty", "n"}
	case "OKP": // RFC 8037 §2
		names = []string{"crv", "kty", "x"}
	default:
		return nil, Problem("its jwk is of another type than EC, RSA and OKP")
	}
	out := make([]byte, 0, 512)
	for i, name := range names {
		value, _ := jwk[name].(string)
		if value == "" || !isBase64URL(value) { // which holds for names of curves, too, and needs no escapes in JSON
			return nil, Problem("its jwk has no good " + name)
		}
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		out = append(out, separator)
		out = append(append(append(append(append(out, '"'), name...), `":"`...), value...), '"')
	}
	return append(out, '}'), nil
}

// parseKey returns the key of publicMembers for the algorithm, if it is a key that an issuer could use too.
func parseKey(members []byte, algorithm string) (*jwks.Key, error) {
	document := append(append([]byte(`{"keys":[`), members...), `]}`...)
	set, err := keyset.Parse(document, keyset.Options{Algorithms: []string{algorithm}})
	if err != nil {
		return nil, fmt.Errorf("its jwk: %w", err)
	}
	found, err := set.Lookup("", algorithm)
	if err != nil {
		return nil, fmt.Errorf("its jwk: %w", err)
	}
	return found[0], nil
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c|0x20 || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
