package signing

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"time"
)

// PublicVersion is the public part of one version of a Transit key.
type PublicVersion struct {
	// Number is the version in Vault, from 1.
	Number int
	Public crypto.PublicKey
	// Created is Vault's creation_time.
	Created time.Time
}

// Transit is Vault's Transit secrets engine; *transit.Engine implements it. It is safe for concurrent use.
type Transit interface {
	// Sign returns the JWS signature of input by one version of the key (marshaling_algorithm=jws, decoded), with SHA-256. For RSA
	// the signature algorithm is pkcs1v15 for RS256, and pss with a salt as long as the hash for PS256.
	Sign(ctx context.Context, key string, version int, a Algorithm, input []byte) ([]byte, error)
	// PublicKeys returns the versions that may still sign.
	PublicKeys(ctx context.Context, key string) ([]PublicVersion, error)
}

// TransitKey is a Source whose private keys never leave Vault.
type TransitKey struct {
	Transit   Transit
	Key       string
	Algorithm Algorithm
}

// Versions implements Source. It returns the newest versions, up to a bound.
func (k TransitKey) Versions(ctx context.Context) ([]Version, error) {
	keys, err := k.Transit.PublicKeys(ctx, k.Key)
	if err != nil {
		return nil, fmt.Errorf("reading Transit key %q: %w", k.Key, err)
	}
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b PublicVersion) int { return cmp.Compare(a.Number, b.Number) })
	keys = keys[max(0, len(keys)-maxVersions):]
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading Transit key %q: it has no version", k.Key)
	}
	versions := make([]Version, 0, len(keys))
	for _, key := range keys {
		if err := checkPublic(key.Public, k.Algorithm); err != nil {
			return nil, fmt.Errorf("reading Transit key %q: version %d: %w", k.Key, key.Number, err)
		}
		id, err := thumbprint(key.Public)
		if err != nil {
			return nil, fmt.Errorf("reading Transit key %q: version %d: %w", k.Key, key.Number, err)
		}
		versions = append(versions, Version{
			Signer: &transitSigner{key: k, version: key.Number, id: id}, Public: key.Public, Created: key.Created,
		})
	}
	return versions, nil
}

// checkPublic rejects keys that are weak or do not match the algorithm.
func checkPublic(key crypto.PublicKey, a Algorithm) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if (a == RS256 || a == PS256) && k.N.BitLen() >= minModulus && k.N.BitLen() <= maxModulus {
			return nil
		}
	case *ecdsa.PublicKey:
		if a == ES256 && k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if a == EdDSA {
			return nil
		}
	}
	if a == HS256 {
		return errors.New("HS256 does not work with Transit: verifying would need Vault; choose ES256")
	}
	return fmt.Errorf("the key does not match %s, which needs %s", a, wanted(a))
}

// signTimeout bounds one signature. It limits how long logins and refreshes wait while Vault does not respond.
const signTimeout = 3 * time.Second

type transitSigner struct {
	key     TransitKey
	version int
	id      string
}

func (s *transitSigner) Algorithm() Algorithm { return s.key.Algorithm }
func (s *transitSigner) KeyID() string        { return s.id }

// Sign implements Signer with one round trip to Vault, at most for signTimeout.
func (s *transitSigner) Sign(ctx context.Context, input []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	sig, err := s.key.Transit.Sign(ctx, s.key.Key, s.version, s.key.Algorithm, input)
	if err != nil {
		return nil, fmt.Errorf("signing with Transit key %q: %w", s.key.Key, err)
	}
	return sig, nil
}
