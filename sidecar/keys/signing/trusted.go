package signing

import (
	"context"

	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Trusted is a Ring without the keys that are revoked: they sign no more, whatever their turn, and are not published. What
// they have signed is refused by the revocation itself. It is safe for concurrent use.
type Trusted struct {
	Ring *Ring
	// Revoked reports whether a key is revoked, by its kid.
	Revoked func(kid string) bool
}

func (t Trusted) members() []member {
	all := t.Ring.state.Load().members
	kept := make([]member, 0, len(all))
	for _, m := range all {
		if !t.Revoked(m.Signer.KeyID()) {
			kept = append(kept, m)
		}
	}
	return kept
}

// Current is the Ring's; where that key is revoked, the newest one that is not takes its place at once.
func (t Trusted) Current() (Signer, error) { return t.Ring.current(t.members()) }

// Document is the Ring's, without revoked keys.
func (t Trusted) Document() ([]byte, error) { return t.Ring.document(t.members()) }

// Algorithm is the Ring's.
func (t Trusted) Algorithm() Algorithm { return t.Ring.Algorithm() }

// Lookup is the Ring's: a token of a revoked key is known, and refused as revoked.
func (t Trusted) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	return t.Ring.Lookup(ctx, kid, alg)
}

// Holds is the Ring's.
func (t Trusted) Holds(key *jwks.Key) bool { return t.Ring.Holds(key) }
