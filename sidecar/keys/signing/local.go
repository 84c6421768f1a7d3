package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of keys: the minima of RFC 7518 §3.3 and §3.2, and the maximum of verifiers (sidecar/keys/jwks).
const (
	minModulus = 2048 // bits
	maxModulus = 8192 // bits
	minSecret  = 32   // bytes
	// minDistinct is the minimum number of different bytes in a secret. A random secret has more, a repeated text fewer.
	minDistinct = 8
)

// local signs in this process.
type local struct {
	algorithm Algorithm
	id        string
	method    jwt.SigningMethod
	key       any
}

func (l *local) Algorithm() Algorithm { return l.algorithm }
func (l *local) KeyID() string        { return l.id }

// Sign implements Signer.
func (l *local) Sign(_ context.Context, input []byte) ([]byte, error) {
	sig, err := l.method.Sign(string(input), l.key)
	if err != nil {
		return nil, fmt.Errorf("signing with key %q: %w", l.id, err)
	}
	return sig, nil
}

// Format prints the kid and the algorithm for every verb, never the key material.
func (l *local) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key %q (%s)", l.id, l.algorithm) }

// newLocal checks that key is strong and matches the algorithm. An empty id defaults to the key's thumbprint.
func newLocal(key any, a Algorithm, id string) (Version, error) {
	method := jwt.GetSigningMethod(string(a))
	if err := check(key, a); err != nil {
		return Version{}, err
	}
	v := Version{Local: true}
	if secret, ok := key.([]byte); ok {
		v.secret = secret
		if id == "" {
			id = secretID(secret)
		}
	} else {
		v.Public = key.(crypto.Signer).Public()
		if id == "" {
			var err error
			if id, err = thumbprint(v.Public); err != nil {
				return Version{}, err
			}
		}
	}
	v.Signer = &local{algorithm: a, id: id, method: method, key: key}
	return v, nil
}

// check rejects keys that are weak or do not match the algorithm.
func check(key any, a Algorithm) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return checkRSA(k, a)
	case *ecdsa.PrivateKey:
		if a == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PrivateKey:
		if a == EdDSA {
			return nil
		}
	case []byte:
		if a == HS256 {
			return checkSecret(k)
		}
	}
	return fmt.Errorf("the key does not match %s, which needs %s", a, wanted(a))
}

// wanted returns the kind of key that a needs.
func wanted(a Algorithm) string {
	switch a {
	case ES256:
		return "an EC key on P-256"
	case RS256, PS256:
		return "an RSA key of at least 2048 bits"
	case EdDSA:
		return "an Ed25519 key"
	default:
		return "a random secret of at least 32 bytes"
	}
}

func checkRSA(k *rsa.PrivateKey, a Algorithm) error {
	switch {
	case a != RS256 && a != PS256:
		return fmt.Errorf("the key does not match %s, which needs %s", a, wanted(a))
	case k.N.BitLen() < minModulus || k.N.BitLen() > maxModulus:
		return fmt.Errorf("the RSA key must have %d to %d bits", minModulus, maxModulus)
	case k.E < 65537:
		return errors.New("the RSA key's exponent is below 65537")
	}
	if err := k.Validate(); err != nil {
		return errors.New("the RSA key is inconsistent")
	}
	return nil
}

func checkSecret(k []byte) error {
	if len(k) < minSecret {
		return fmt.Errorf("the secret has %d bytes, and HS256 needs %d (RFC 7518 §3.2)", len(k), minSecret)
	}
	distinct := map[byte]bool{}
	for _, b := range k {
		distinct[b] = true
	}
	if len(distinct) < minDistinct {
		return fmt.Errorf("the secret has only %d different bytes: it is not random", len(distinct))
	}
	return nil
}

// secretID returns a kid for a secret that does not reveal it.
func secretID(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("postern key id"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
