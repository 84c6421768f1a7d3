// Package jwks keeps the keys that verify tokens: it loads the JWK sets of issuers, which package keyset reads, and keeps them
// fresh in the background. The last good set is kept through an outage, and across reloads of the policy.
package jwks

import (
	"context"
	"errors"

	"github.com/posterndev/postern/api/check/keyset"
)

// Key verifies the signatures of one key with its one algorithm.
type Key = keyset.Key

// Errors of Source.Lookup. None of them, nor what they wrap, holds a token's content.
var (
	// ErrUnknownKey: the issuer's current set has no key for the token.
	ErrUnknownKey = keyset.ErrUnknownKey
	// ErrAlgorithm: the key that the token names is for another algorithm (RFC 8725 §3.1).
	ErrAlgorithm = keyset.ErrAlgorithm
	// ErrAmbiguous: the token names no key, and too many could have signed it.
	ErrAmbiguous = keyset.ErrAmbiguous
	// ErrUnavailable: the issuer's keys are unavailable at present, so nothing can be said about the token.
	ErrUnavailable = errors.New("looking up key: the issuer's keys are unavailable at present")
)

// Source gives the keys of one issuer. It is safe for concurrent use.
type Source interface {
	// Lookup returns the keys, one or few, that may have signed a token with this header: kid may be empty. For an unknown
	// kid it may wait, for a bounded time, until the set has been fetched once more.
	Lookup(ctx context.Context, kid, alg string) ([]*Key, error)
	// Holds reports whether a key that Lookup gave earlier is still in force.
	Holds(key *Key) bool
}

// static is a Source that never changes: a set written in the policy.
type static struct{ set *keyset.Set }

// Fixed returns the keys of a set that never changes.
func Fixed(set *keyset.Set) Source { return static{set: set} }

func (s static) Lookup(_ context.Context, kid, alg string) ([]*Key, error) {
	return s.set.Lookup(kid, alg)
}

func (s static) Holds(key *Key) bool { return s.set.Holds(key) }
