// Package signing keeps the keys that sign our own tokens: it reads them from where they lie (a Secret, Vault KV v2, Vault
// Transit), decides which one signs now, and publishes those that verify.
//
// A key has versions. Each has a time from which on it is published, and that time is the same for every replica:
//
//	where the key lies               its time
//	Vault KV v2                      created_time of the first version of the secret that holds the key
//	Vault Transit                    creation_time of the key's version
//	Kubernetes Secret, file          when the first replica saw it, kept in Redis (Registry)
//	the same, without Redis          the JWK's iat, or for ever, at start; when it was seen, later. Only one pod may use it
//
// A key's own date ("iat" in a JWK, seconds since 1970) decides between keys of one time, and is no proof of publication: a
// key that was made yesterday and installed now would otherwise sign, and retire the present one, before anybody has it.
//
// From these times alone, and the clock, every replica decides alike (plan):
//
//	version                                    published         signs
//	the first one there is                     at once           at once: nothing else could
//	a newer one, younger than overlap          at once           no: verifiers have time to fetch it
//	the newest one that is overlap old         yes               yes
//	an older one                               until the last    no
//	                                           token it signed
//	                                           has died
//	removed, a newer one is there, the         yes               until the newer one is overlap old, where this
//	key was local (a Secret was replaced)                        process still has it
//	removed, nothing newer                     as an older one   no: it was withdrawn
//
// Of versions of one time and date, those listed later are newer. Keys are never generated here: replicas would have to hand
// each other a private key. A compromised key is taken out of force by a revocation of its kid, not by its removal, for
// tokens that it signed must live through a rotation.
package signing

import (
	"context"
	"crypto"
	"errors"
	"time"
)

// Algorithm is a JWS algorithm that our tokens are signed with.
type Algorithm string

// The algorithms of spec.tokens.algorithm.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	EdDSA Algorithm = "EdDSA"
	HS256 Algorithm = "HS256"
)

// ErrNoKey: no key has been read so far, so nothing can be signed.
var ErrNoKey = errors.New("signing: no key could be read yet")

// Signer signs with one version of a key. It is safe for concurrent use.
type Signer interface {
	Algorithm() Algorithm
	// KeyID is the "kid" that tokens name it by.
	KeyID() string
	// Sign returns the JWS signature (RFC 7518 §3) of input, which for ECDSA is R and S side by side.
	Sign(ctx context.Context, input []byte) ([]byte, error)
}

// Version is a Signer with what is known of it.
type Version struct {
	Signer Signer
	// Public verifies; nil for HS256.
	Public crypto.PublicKey
	// secret verifies for HS256.
	secret []byte
	// Created is from when on the version can be read where it lies; zero where its place does not say.
	Created time.Time
	// issued is the key's own word for its date, which says nothing about when it was published.
	issued time.Time
	// Local says that the signer works on after the version has gone from its source.
	Local bool
}

// Source reads the versions of one signing key, the older first where they have no times. It is safe for concurrent use.
type Source interface {
	Versions(ctx context.Context) ([]Version, error)
}

// Registry is what replicas share about a key. It is safe for concurrent use.
type Registry interface {
	// Since returns from when on each version was seen by any replica. What is not known yet is set: to the belief that is
	// handed in, or to the present where that is zero.
	Since(ctx context.Context, believed map[string]time.Time) (map[string]time.Time, error)
	// Claim reports whether the caller, alone among the replicas, may do what name says during the next ttl.
	Claim(ctx context.Context, name string, ttl time.Duration) (bool, error)
}

// Rotator makes a new version where the key lies. It is safe for concurrent use.
type Rotator interface {
	Rotate(ctx context.Context) error
}
