// Package jwks provides the keys that verify tokens. It loads the JWK sets of issuers, which package keyset parses, and refreshes
// them in the background. It keeps the last good set during an outage and across reloads of the policy.
package jwks

import (
	"context"
	"errors"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
)

// Key verifies the signatures of one key with its one algorithm.
type Key = keyset.Key

// Errors of Source.Lookup. Neither they nor the errors that they wrap contain anything of a token.
var (
	// ErrUnknownKey means that the issuer's current set has no key for the token.
	ErrUnknownKey = keyset.ErrUnknownKey
	// ErrAlgorithm means that the key that the token names is for another algorithm (RFC 8725 §3.1).
	ErrAlgorithm = keyset.ErrAlgorithm
	// ErrAmbiguous means that the token names no key, and too many keys could have signed it.
	ErrAmbiguous = keyset.ErrAmbiguous
	// ErrUnavailable means that the issuer's keys are unavailable, so that the token cannot be verified at the moment.
	ErrUnavailable = errors.New("looking up key: the issuer's keys are unavailable")
)

// Source provides the keys of one issuer. It is safe for concurrent use.
type Source interface {
	// Lookup returns the few keys that may have signed a token with this kid and alg; kid may be empty. For an unknown kid it
	// may wait, for a limited time, until the set has been fetched again.
	Lookup(ctx context.Context, kid, alg string) ([]*Key, error)
	// Holds reports whether a key that Lookup returned earlier is still active.
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

func (s static) status(st *Status, _ time.Time) {
	st.Ready, st.Keys, st.Dropped = true, s.set.Len(), s.set.Dropped()
}

func (static) close() {}

// managed is a Source of a Manager.
type managed interface {
	Source
	// status fills in everything but the provider's name.
	status(st *Status, now time.Time)
	// close ends the background work.
	close()
}
