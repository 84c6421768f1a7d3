// Package keyset reads JSON Web Key Sets strictly (RFC 7517, RFC 7518, RFC 8037, RFC 8725): those of issuers, of Secrets, and
// those that are written in a policy. The operator and the sidecar read them by the same rules.
package keyset

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check/strictjson"
)

// MaxSize bounds a key set, in bytes.
const MaxSize = 512 << 10

// Bounds of a key set: its keys, and the nesting of its JSON.
const (
	maxKeys  = 100
	maxDepth = 8
)

// Errors of Set.Lookup. None of them holds a token's content.
var (
	// ErrUnknownKey: the set has no key for the token.
	ErrUnknownKey = errors.New("looking up key: the issuer's set does not have it")
	// ErrAlgorithm: the key that the token names is for another algorithm (RFC 8725 §3.1).
	ErrAlgorithm = errors.New("looking up key: it is for another algorithm")
	// ErrAmbiguous: the token names no key, and too many could have signed it.
	ErrAmbiguous = errors.New("looking up key: the token names none and too many fit")
)

// maxUnnamed is how many keys are tried for a token that does not name its key.
const maxUnnamed = 4

// Set is the keys of one issuer that the provider's algorithms can use. It is immutable.
type Set struct {
	keys    []*Key
	byID    map[string]*Key
	prints  map[[sha256.Size]byte]bool
	skipped []string
}

// Options say how a set is read.
type Options struct {
	// Algorithms are the provider's; CheckAlgorithms accepted them.
	Algorithms []string
	// Secret is true where the set comes out of a secret store. Only there may it hold "oct" keys: a symmetric key that is
	// published, or written in a policy, lets every reader sign tokens.
	Secret bool
}

// Parse reads a JWK set (RFC 7517 §5). Keys that are not for verifying with one of the algorithms, are incomplete or too
// weak are skipped, and Skipped says why. Refused as a whole: a set without a usable key, with a "kid" twice, with both
// symmetric and public keys, with private keys, or one that is too large. Certificates and URLs in it (x5c, x5u) are never
// read. Errors hold none of the set's values.
func Parse(data []byte, o Options) (*Set, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("parsing key set: larger than %d bytes", MaxSize)
	}
	document, err := strictjson.Object(data, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("parsing key set: %w", err)
	}
	list, ok := document["keys"].([]any)
	if !ok {
		return nil, errors.New(`parsing key set: it has no "keys" array`)
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("parsing key set: more than %d keys", maxKeys)
	}
	jwks := make([]map[string]any, len(list))
	for i, v := range list {
		if jwks[i], ok = v.(map[string]any); !ok {
			return nil, fmt.Errorf("parsing key set: key %d is not an object", i)
		}
	}
	if err := checkSet(jwks, o.Secret); err != nil {
		return nil, fmt.Errorf("parsing key set: %w", err)
	}
	return build(jwks, o.Algorithms)
}

func build(jwks []map[string]any, allowed []string) (*Set, error) {
	s := newSet()
	for i, jwk := range jwks {
		key, err := newKey(jwk, allowed)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Sprintf("key %d: %s", i, err))
			continue
		}
		s.add(key)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("parsing key set: no usable key (%s)", summary(s.skipped))
	}
	return s, nil
}

// summary joins the first few reasons.
func summary(reasons []string) string {
	const most = 4
	if len(reasons) == 0 {
		return "the set is empty"
	}
	if len(reasons) > most {
		return strings.Join(reasons[:most], "; ") + "; …"
	}
	return strings.Join(reasons, "; ")
}

// checkSet refuses what makes a whole set untrustworthy, usable keys or not.
func checkSet(jwks []map[string]any, secret bool) error {
	ids := map[string]bool{}
	secrets, public := false, false
	for i, jwk := range jwks {
		if id, ok := jwk["kid"].(string); ok && id != "" {
			if ids[id] {
				return fmt.Errorf("key %d has the kid of another key", i)
			}
			ids[id] = true
		}
		if jwk["kty"] == typeOct {
			secrets = true
			continue
		}
		public = true
		if private(jwk) {
			return fmt.Errorf("key %d has private members: whoever reads this set can sign tokens; publish public keys only and replace this key", i)
		}
	}
	switch {
	case secrets && public:
		return errors.New("it has both symmetric (oct) and public keys")
	case secrets && !secret:
		return errors.New("it has symmetric (oct) keys, which are taken from a Secret only")
	}
	return nil
}

// private reports members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4, RFC 8037 §2; "priv" is
// the member of the AKP type).
func private(jwk map[string]any) bool {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := jwk[name]; ok {
			return true
		}
	}
	return false
}

// ParseSecret reads the content of a Secret: a JWK set, or, where the provider's algorithms are HMAC, the raw bytes of
// one secret. A raw secret has no room for its algorithm, so the provider must then allow exactly one.
func ParseSecret(data []byte, algorithms []string) (*Set, error) {
	if !Symmetric(algorithms) || looksLikeJSON(data) {
		return Parse(data, Options{Algorithms: algorithms, Secret: true})
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("parsing secret: larger than %d bytes", MaxSize)
	}
	a, err := choose(algorithms, typeOct, "", "")
	if err != nil {
		return nil, errors.New("parsing secret: a raw secret has one algorithm: allow exactly one HS* algorithm, or store a JWK set whose keys have alg")
	}
	if err := secretLength(data, a); err != nil {
		return nil, fmt.Errorf("parsing secret: %w", err)
	}
	s := newSet()
	k := bytes.Clone(data)
	s.add(makeKey("", a, k, k))
	return s, nil
}

// looksLikeJSON reports whether data starts an object with a member, as no random secret is likely to do.
func looksLikeJSON(data []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`))
}

func newSet() *Set {
	return &Set{byID: map[string]*Key{}, prints: map[[sha256.Size]byte]bool{}}
}

func (s *Set) add(key *Key) {
	s.keys = append(s.keys, key)
	s.prints[key.print] = true
	if key.id != "" {
		s.byID[key.id] = key
	}
}

// Len is the number of usable keys.
func (s *Set) Len() int { return len(s.keys) }

// Skipped says for each unusable key why it was skipped.
func (s *Set) Skipped() []string { return s.skipped }

// Lookup returns the keys that may have signed a token: the one that kid names, if its algorithm is alg. Where kid is
// empty any key with that algorithm may be meant, and where the set does not have kid any such key without a name; those
// are tried up to maxUnnamed, beyond which the token is refused, so that it cannot be made expensive.
func (s *Set) Lookup(kid, alg string) ([]*Key, error) {
	if key := s.byID[kid]; key != nil {
		if key.algorithm.name != alg {
			return nil, ErrAlgorithm
		}
		return []*Key{key}, nil
	}
	var keys []*Key
	for _, key := range s.keys {
		if key.algorithm.name == alg && (kid == "" || key.id == "") {
			keys = append(keys, key)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, ErrUnknownKey
	case len(keys) > maxUnnamed:
		return nil, ErrAmbiguous
	}
	return keys, nil
}

// Holds reports whether key, perhaps of an earlier reading, is in the set with the same name, algorithm and material.
func (s *Set) Holds(key *Key) bool { return s.prints[key.print] }
