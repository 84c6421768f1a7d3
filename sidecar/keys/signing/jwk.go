package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// maxKeyID bounds a kid in bytes. Verifiers have the same bound.
const maxKeyID = 256

var b64 = base64.RawURLEncoding

// publicJWK returns the public members of a key (RFC 7518 §6, RFC 8037 §2).
func publicJWK(key crypto.PublicKey) (map[string]string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64.EncodeToString(k.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(k.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil || k.Curve != elliptic.P256() {
			return nil, errors.New("encoding public key: not a point on P-256")
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:])}, nil
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(k)}, nil
	}
	return nil, fmt.Errorf("encoding public key: %T is not supported", key)
}

// thumbprint returns the thumbprint of RFC 7638 with SHA-256: the hash of the members above in the order of their names.
// encoding/json writes a map in that order.
func thumbprint(key crypto.PublicKey) (string, error) {
	members, err := publicJWK(key)
	if err != nil {
		return "", err
	}
	canonical, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("computing key thumbprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return b64.EncodeToString(sum[:]), nil
}

// privateJWK parses a private JWK. err is the error of the first invalid member. Errors contain no values.
type privateJWK struct {
	members map[string]any
	err     error
}

// version parses the key.
func (j *privateJWK) version(a Algorithm) (Version, error) {
	id, alg, use := j.text("kid"), j.text("alg"), j.text("use")
	switch {
	case j.err != nil:
		return Version{}, j.err
	case len(id) > maxKeyID:
		return Version{}, fmt.Errorf("its kid is longer than %d bytes", maxKeyID)
	case alg != "" && alg != string(a):
		return Version{}, fmt.Errorf("its alg must be %s", a)
	case use != "" && use != "sig":
		return Version{}, errors.New("its use must be sig")
	case !j.maySign():
		return Version{}, errors.New("its key_ops must include sign")
	}
	issued := j.issued()
	key := j.key()
	if j.err != nil {
		return Version{}, j.err
	}
	v, err := newLocal(key, a, id)
	v.issued = issued
	return v, err
}

func (j *privateJWK) key() any {
	switch kty := j.text("kty"); kty {
	case "RSA":
		return j.rsa()
	case "EC":
		return j.ec()
	case "OKP":
		return j.ed25519()
	case "oct":
		return j.octets("k")
	default:
		j.fail("its kty must be RSA, EC, OKP or oct")
		return nil
	}
}

func (j *privateJWK) rsa() *rsa.PrivateKey {
	number := func(name string) *big.Int { return new(big.Int).SetBytes(j.octets(name)) }
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number("n")}, D: number("d"), Primes: []*big.Int{number("p"), number("q")}}
	e := number("e")
	if e.BitLen() > 31 {
		j.fail("its e is too large")
	}
	if _, ok := j.members["oth"]; ok {
		j.fail("it has more than two primes")
	}
	if j.err != nil {
		return nil
	}
	k.E = int(e.Int64())
	k.Precompute()
	return k
}

func (j *privateJWK) ec() *ecdsa.PrivateKey {
	if j.text("crv") != "P-256" {
		j.fail("its crv must be P-256")
		return nil
	}
	d, x, y := j.octets("d"), j.octets("x"), j.octets("y")
	if j.err != nil {
		return nil
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		j.fail("its d is not a key on P-256")
		return nil
	}
	point, err := k.PublicKey.Bytes()
	if err != nil || string(point[1:]) != string(x)+string(y) {
		j.fail("its d does not belong to its x and y")
	}
	return k
}

func (j *privateJWK) ed25519() ed25519.PrivateKey {
	if j.text("crv") != "Ed25519" {
		j.fail("its crv must be Ed25519")
		return nil
	}
	d, x := j.octets("d"), j.octets("x")
	if j.err != nil {
		return nil
	}
	if len(d) != ed25519.SeedSize {
		j.fail("its d has the wrong length")
		return nil
	}
	k := ed25519.NewKeyFromSeed(d)
	if !k.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(x)) {
		j.fail("its d does not belong to its x")
	}
	return k
}

func (j *privateJWK) maySign() bool {
	ops, ok := j.members["key_ops"]
	if !ok {
		return true
	}
	list, _ := ops.([]any)
	for _, op := range list {
		if op == "sign" {
			return true
		}
	}
	return false
}

// issued returns iat, an integer. RFC 7517 §4 allows additional members, and this one is common.
func (j *privateJWK) issued() time.Time {
	v, ok := j.members["iat"]
	if !ok {
		return time.Time{}
	}
	n, ok := v.(json.Number)
	seconds, err := n.Int64()
	if !ok || err != nil || seconds <= 0 || seconds > maxDate {
		j.fail("its iat must be a number of seconds since 1970")
	}
	return time.Unix(seconds, 0)
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

func (j *privateJWK) text(name string) string {
	v, ok := j.members[name]
	s, isText := v.(string)
	if ok && !isText {
		j.fail("its " + name + " is not a string")
	}
	return s
}

func (j *privateJWK) octets(name string) []byte {
	s := j.text(name)
	b, err := b64.Strict().DecodeString(s)
	if s == "" || err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		j.fail("its " + name + " is missing or not base64url without padding")
		return nil
	}
	return b
}

func (j *privateJWK) fail(text string) {
	if j.err == nil {
		j.err = errors.New(text)
	}
}
