// Package signing holds the keys that sign the policy's own tokens. It reads them from a source (a Secret, Vault KV v2, Vault
// Transit), selects the one that signs, and publishes those that verify.
//
// A key has versions. Each has a time at which it is published. That time is the same for every replica:
//
//	source                           time
//	Vault KV v2                      created_time of the first version of the secret that holds the key
//	Vault Transit                    creation_time of the key's version
//	Kubernetes Secret, file          when the first replica read it, stored in Redis (Registry)
//	the same, without Redis          at the start the JWK's iat, or ever; later, when it was read. For one pod only
//
// A key's own date ("iat" in a JWK, seconds since 1970) decides between keys with the same time. It does not prove publication: a
// key that was created yesterday and installed now would otherwise sign, and retire the current one, before any verifier has it.
//
// Every replica makes the same decisions from these times and the clock (plan):
//
//	version                                    published         signs
//	the first one                              at once           at once
//	a newer one, younger than overlap          at once           no: verifiers have time to fetch it
//	the newest one that is overlap old         yes               yes
//	an older one                               until the last    no
//	                                           token it signed
//	                                           has expired
//	removed, with a newer one, and             yes               until the newer one is overlap old, if this
//	local (a Secret was replaced)                                process still has it
//	removed, without a newer one               as an older one   no: it was withdrawn
//
// Of versions with the same time and date, those listed later are newer. Keys are never generated here, because replicas would have
// to exchange a private key. Revoke a compromised key by its kid. Removing it is not enough, because tokens that it signed stay
// valid through a rotation.
//
// Where a key is stored is behind the interfaces Source and Transit. The adapter for Vault Transit is the package transit.
package signing

import (
	"context"
	"crypto"
	"errors"
	"time"
)

// Algorithm is a JWS algorithm for signing tokens.
type Algorithm string

// The algorithms of spec.tokens.algorithm.
const (
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	EdDSA Algorithm = "EdDSA"
	HS256 Algorithm = "HS256"
)

// ErrNoKey reports that no key is available for signing.
var ErrNoKey = errors.New("signing: no key is available")

// Signer signs with one version of a key. It is safe for concurrent use.
type Signer interface {
	Algorithm() Algorithm
	// KeyID is the kid of its tokens.
	KeyID() string
	// Sign returns the JWS signature (RFC 7518 §3) of input. For ECDSA that is R and S, concatenated.
	Sign(ctx context.Context, input []byte) ([]byte, error)
}

// Version is one version of a key.
type Version struct {
	Signer Signer
	// Public is the public key; nil for HS256.
	Public crypto.PublicKey
	// secret is the key for HS256.
	secret []byte
	// Created is when the version became available in its source; zero if the source does not tell.
	Created time.Time
	// issued is the date in the key itself. It does not tell when the key was published.
	issued time.Time
	// Local says that the signer still works after the version was deleted from its source.
	Local bool
}

// Source reads the versions of one signing key. Versions without a time are in order, the oldest first. It is safe for concurrent
// use.
type Source interface {
	Versions(ctx context.Context) ([]Version, error)
}

// Registry is the state of a key that replicas share. It is safe for concurrent use.
type Registry interface {
	// Since returns when each version was first read by any replica. It sets an unknown time to the given one, or to now if that
	// is zero.
	Since(ctx context.Context, believed map[string]time.Time) (map[string]time.Time, error)
	// Claim reports whether the caller gets the exclusive right, among all replicas, to do what name says for the next ttl.
	Claim(ctx context.Context, name string, ttl time.Duration) (bool, error)
}

// Rotator creates a new version of a key in its source. It is safe for concurrent use.
type Rotator interface {
	Rotate(ctx context.Context) error
}
