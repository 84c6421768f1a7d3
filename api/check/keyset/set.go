// Package keyset strictly parses JSON Web Key Sets (RFC 7517, RFC 7518, RFC 8037, RFC 8725): those of issuers, of Secrets, and
// those in a policy. The operator and the sidecar both use it, so that they apply the same rules.
package keyset

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check/strictjson"
)

// MaxSize is the maximum size of a key set, in bytes.
const MaxSize = 512 << 10

// Limits of a key set: the number of keys, and the nesting of its JSON.
const (
	maxKeys  = 100
	maxDepth = 8
)

// Errors of Set.Lookup. None of them contains anything of a token.
var (
	// ErrUnknownKey means that the set has no key for the token.
	ErrUnknownKey = errors.New("looking up key: the issuer's key set does not have it")
	// ErrAlgorithm means that the key that the token names is for another algorithm (RFC 8725 §3.1).
	ErrAlgorithm = errors.New("looking up key: the key is for another algorithm")
	// ErrAmbiguous means that the token names no key, and too many keys could have signed it.
	ErrAmbiguous = errors.New("looking up key: the token names no key, and too many keys fit")
)

// maxUnnamed is the maximum number of keys that are tried for a token that does not name its key.
const maxUnnamed = 4

// Set has the usable keys of one issuer. It is immutable.
type Set struct {
	keys    []*Key
	byID    map[string]*Key
	prints  map[[sha256.Size]byte]bool
	skipped []string
}

// Options say how a set is parsed.
type Options struct {
	// Algorithms are the provider's. CheckAlgorithms must have accepted them.
	Algorithms []string
	// Secret is true if the set is from a secret store. Only then may it contain "oct" keys: anyone who can read a symmetric
	// key can sign tokens with it.
	Secret bool
}

// Parse parses a JWK set (RFC 7517 §5). It skips keys that cannot verify with one of the algorithms, are incomplete or too
// weak; Skipped says why. It refuses a set that has no usable key, the same "kid" twice, both symmetric and public keys, or
// private keys, and a set that is too large. It never reads certificates and URLs in the set (x5c, x5u). Errors contain none
// of the set's values.
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

// summary joins the first reasons.
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

// checkSet refuses a set that cannot be trusted as a whole, even if it has usable keys.
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
			return fmt.Errorf("key %d has private members, so anyone who reads this set can sign tokens; publish public keys only, and replace this key", i)
		}
	}
	switch {
	case secrets && public:
		return errors.New("it has both symmetric (oct) and public keys")
	case secrets && !secret:
		return errors.New("it has symmetric (oct) keys, which are accepted from a Secret only")
	}
	return nil
}

// private reports whether jwk has a member that only private or symmetric keys have (RFC 7518 §6.2.2, §6.3.2, §6.4, RFC 8037
// §2; "priv" is the member of the AKP type).
func private(jwk map[string]any) bool {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := jwk[name]; ok {
			return true
		}
	}
	return false
}

// ParseSecret parses the content of a Secret: a JWK set or, if the provider's algorithms are HMAC, the raw bytes of one secret.
// A raw secret does not name its algorithm, so the provider must then allow exactly one.
func ParseSecret(data []byte, algorithms []string) (*Set, error) {
	if !Symmetric(algorithms) || looksLikeJSON(data) {
		return Parse(data, Options{Algorithms: algorithms, Secret: true})
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("parsing secret: larger than %d bytes", MaxSize)
	}
	a, err := choose(algorithms, typeOct, "", "")
	if err != nil {
		return nil, errors.New("parsing secret: a raw secret does not name its algorithm; allow exactly one HS* algorithm, or store a JWK set whose keys have alg")
	}
	if err := secretLength(data, a); err != nil {
		return nil, fmt.Errorf("parsing secret: %w", err)
	}
	s := newSet()
	k := bytes.Clone(data)
	s.add(makeKey("", a, k, k))
	return s, nil
}

// looksLikeJSON reports whether data begins like a JSON object with a member. A random secret is unlikely to do so.
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

// Len returns the number of usable keys.
func (s *Set) Len() int { return len(s.keys) }

// Skipped returns, for each unusable key, why it was skipped.
func (s *Set) Skipped() []string { return s.skipped }

// Lookup returns the keys that may have signed a token. That is the key with the ID kid, if its algorithm is alg. If kid is
// empty, it is any key with that algorithm; if the set does not have kid, any such key without an ID. More than maxUnnamed
// keys give ErrAmbiguous, so that a token cannot make verification expensive.
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

// Holds reports whether key, which may be from an earlier set, is in this set with the same ID, algorithm and material.
func (s *Set) Holds(key *Key) bool { return s.prints[key.print] }
