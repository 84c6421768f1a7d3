package keyset

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"

	"github.com/posterndev/postern/api/check/strictjson"
)

// Options say how a set is parsed.
type Options struct {
	// Algorithms are the provider's. CheckAlgorithms must have accepted them.
	Algorithms []string
	// Issuer is the provider's. A key that names an issuer is used for that one alone.
	Issuer string
	// Secret is true if the set is from a secret store. Only then may it contain "oct" keys: anyone who can read a symmetric
	// key can sign tokens with it.
	Secret bool
	// ShortSecret accepts a raw HMAC secret of at least minShortSecret bytes, although its algorithm requires more.
	ShortSecret bool
}

// minShortSecret is the minimum length of a secret with ShortSecret, in bytes.
const minShortSecret = 16

// Parse parses a JWK set (RFC 7517 §5). First it drops each key that cannot verify the issuer's tokens: one for another use,
// algorithm or issuer, or one that is incomplete or weak; Dropped says why. A member that is null counts as absent. The same key
// twice counts once. Then it refuses a set without a usable key, and one with two different keys that have the same "kid" and
// algorithm. It also refuses a set with private keys, and one that is too large. It never reads certificates and URLs in the set
// (x5c, x5u). Errors contain none of the set's values.
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
	p := parser{Options: o, set: newSet(), strengths: map[string]*strength{}, left: eagerUnits}
	for i, v := range list {
		if err := p.take(i, v); err != nil {
			return nil, fmt.Errorf("parsing key set: key %d: %w", i, err)
		}
	}
	if p.set.length == 0 {
		return nil, fmt.Errorf("parsing key set: no usable key (%s)", p.unusable())
	}
	return p.set, nil
}

// parser parses the keys of one set.
type parser struct {
	Options
	set *Set
	// strengths has the RSA moduli of the set, by their bytes.
	strengths map[string]*strength
	// left is what remains of eagerUnits.
	left int
}

// take adds or drops one key. An error means that the set cannot be trusted as a whole, even if it has usable keys.
func (p *parser) take(index int, v any) error {
	jwk, ok := v.(map[string]any)
	if !ok {
		p.set.dropped = append(p.set.dropped, Dropped{Index: index, Reason: Malformed, Text: "it is not an object"})
		return nil
	}
	maps.DeleteFunc(jwk, func(_ string, v any) bool { return v == nil })
	if jwk["kty"] != typeOct && private(jwk) {
		return errors.New("it has private members, so anyone who reads this set can sign tokens; publish public keys only, and replace this key")
	}
	keys, err := p.keys(jwk)
	if err != nil {
		p.set.dropped = append(p.set.dropped, dropped(index, err))
		return nil
	}
	return p.set.add(keys)
}

// keys returns the key of one JWK, once for each of its algorithms. The error says why it cannot be used.
func (p *parser) keys(jwk map[string]any) ([]*Key, error) {
	h, err := readHeader(jwk, p.Issuer)
	if err != nil {
		return nil, err
	}
	if h.kty == typeOct && !p.Secret {
		return nil, refuse(SharedSecret, "it is symmetric (oct), which is accepted from a Secret only")
	}
	algorithms, err := choose(p.Algorithms, h.kty, h.crv, h.alg)
	if err != nil {
		return nil, err
	}
	material, raw, err := decode(jwk, algorithms[0])
	if err != nil {
		return nil, err
	}
	late, err := p.strength(material)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	for _, a := range algorithms {
		key := makeKey(h.id, a, material, raw)
		key.strength = late
		keys = append(keys, key)
	}
	return keys, nil
}

// strength checks an RSA modulus, or returns the check if the set has used up its units.
func (p *parser) strength(material any) (late *strength, err error) {
	public, ok := material.(*rsa.PublicKey)
	if !ok {
		return nil, nil
	}
	id := string(public.N.Bytes())
	if p.strengths[id] == nil {
		p.strengths[id] = &strength{modulus: public.N}
	}
	s := p.strengths[id]
	if !verdicts.knows(public.N) {
		cost := units(public.N)
		if cost > p.left {
			return s, nil
		}
		p.left -= cost
	}
	return nil, s.check()
}

func (p *parser) unusable() string {
	if len(p.set.dropped) == 0 {
		return "the set is empty"
	}
	return Summary(p.set.dropped)
}

func makeKey(id string, a algorithm, material any, raw []byte) *Key {
	k := &Key{id: id, algorithm: a, material: material}
	k.print = sha256.Sum256(fmt.Appendf(nil, "%s %d %s %s", a.name, len(id), id, raw))
	return k
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
func ParseSecret(data []byte, o Options) (*Set, error) {
	o.Secret = true
	if !Symmetric(o.Algorithms) || looksLikeJSON(data) {
		return Parse(data, o)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("parsing secret: larger than %d bytes", MaxSize)
	}
	a, err := choose(o.Algorithms, typeOct, "", "")
	if err != nil {
		return nil, errors.New("parsing secret: a raw secret does not name its algorithm; allow exactly one HS* algorithm, or store a JWK set whose keys have alg")
	}
	required := a[0]
	if o.ShortSecret {
		required.minSecret = minShortSecret
	}
	if err := secretLength(data, required); err != nil {
		return nil, fmt.Errorf("parsing secret: %w", err)
	}
	s := newSet()
	k := bytes.Clone(data)
	return s, s.add([]*Key{makeKey("", a[0], k, k)})
}

// looksLikeJSON reports whether data begins like a JSON object with a member. A random secret is unlikely to do so.
func looksLikeJSON(data []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`))
}
