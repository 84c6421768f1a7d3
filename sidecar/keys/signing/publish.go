package signing

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Current returns the version that signs, or ErrNoKey.
func (r *Ring) Current() (Signer, error) { return r.current(r.state.Load().members) }

func (r *Ring) current(members []member) (Signer, error) {
	now := r.cfg.Now()
	i := r.timing().current(members, now)
	if i < 0 || r.stale(now) {
		return nil, ErrNoKey
	}
	return members[i].Signer, nil
}

// stale reports whether the key was read too long ago to sign. It still verifies.
func (r *Ring) stale(now time.Time) bool {
	return r.cfg.MaxStale > 0 && now.Sub(r.status.Load().Read) > r.cfg.MaxStale
}

// Algorithm returns the algorithm of all versions.
func (r *Ring) Algorithm() Algorithm { return r.cfg.Algorithm }

// Status returns the state of the key.
func (r *Ring) Status() Status {
	s := *r.status.Load()
	now, members := r.cfg.Now(), r.state.Load().members
	s.Current = ""
	if signer, err := r.current(members); err == nil {
		s.Current = signer.KeyID()
	}
	s.Published = nil
	for i, m := range members {
		if r.timing().published(members, i, now) {
			s.Published = append(s.Published, m.Signer.KeyID())
		}
	}
	return s
}

// Lookup returns the published key with this kid and algorithm, or the error of jwks.Source. Own tokens always have a kid. Another
// replica may already sign with a version that this one has not read, so an unknown kid causes a read of the source, at most every
// few seconds for all callers.
func (r *Ring) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	if kid == "" {
		return nil, jwks.ErrUnknownKey
	}
	if !r.verifies(kid) {
		r.readForMiss(ctx)
	}
	s := r.state.Load()
	if s.keys == nil {
		return nil, jwks.ErrUnavailable
	}
	if !r.verifies(kid) {
		return nil, jwks.ErrUnknownKey
	}
	return s.keys.Lookup(ctx, kid, alg)
}

// Holds reports whether key is still published.
func (r *Ring) Holds(key *jwks.Key) bool {
	s := r.state.Load()
	return s.keys != nil && s.keys.Holds(key) && r.verifies(key.ID())
}

// verifies reports whether the version kid is published.
func (r *Ring) verifies(kid string) bool {
	members := r.state.Load().members
	for i := range members {
		if members[i].Signer.KeyID() == kid {
			return r.timing().published(members, i, r.cfg.Now())
		}
	}
	return false
}

func (r *Ring) readForMiss(ctx context.Context) {
	now := r.cfg.Now().UnixNano()
	missed := r.missed.Load()
	if missed != 0 && now-missed < int64(missInterval) || !r.missed.CompareAndSwap(missed, now) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), missTimeout)
	defer cancel()
	_ = r.Refresh(ctx) // Status has the error; the caller's kid stays unknown
}

// Document returns the JWK set (RFC 7517 §5) of the published public keys, the current one first. It never contains secrets: with
// HS256 it is empty. The error is ErrNoKey if no key has been read yet.
func (r *Ring) Document() ([]byte, error) { return r.document(r.state.Load().members) }

func (r *Ring) document(members []member) ([]byte, error) {
	if r.state.Load().keys == nil {
		return nil, ErrNoKey
	}
	now := r.cfg.Now()
	current := r.timing().current(members, now)
	var list []map[string]string
	for i, m := range members {
		if m.Public == nil || !r.timing().published(members, i, now) {
			continue
		}
		jwk, err := jwkOf(m.Version)
		if err != nil {
			return nil, err
		}
		if i == current {
			list = append([]map[string]string{jwk}, list...)
			continue
		}
		list = append(list, jwk)
	}
	return encodeSet(list)
}

func jwkOf(v Version) (map[string]string, error) {
	var jwk map[string]string
	if v.secret != nil {
		jwk = map[string]string{"kty": "oct", "k": b64.EncodeToString(v.secret)}
	} else {
		var err error
		if jwk, err = publicJWK(v.Public); err != nil {
			return nil, err
		}
	}
	jwk["kid"], jwk["alg"], jwk["use"] = v.Signer.KeyID(), string(v.Signer.Algorithm()), "sig"
	return jwk, nil
}

func encodeSet(list []map[string]string) ([]byte, error) {
	if list == nil {
		list = []map[string]string{}
	}
	document, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		return nil, fmt.Errorf("encoding key set: %w", err)
	}
	return document, nil
}

// verifying returns the keys that verify own tokens. They pass the same parser as the keys of external issuers.
func verifying(members []member, a Algorithm) (jwks.Source, error) {
	list := make([]map[string]string, 0, len(members))
	for _, m := range members {
		jwk, err := jwkOf(m.Version)
		if err != nil {
			return nil, err
		}
		list = append(list, jwk)
	}
	document, err := encodeSet(list)
	if err != nil {
		return nil, err
	}
	set, err := keyset.Parse(document, keyset.Options{Algorithms: []string{string(a)}, Secret: a == HS256})
	if err != nil {
		return nil, fmt.Errorf("reading own keys: %w", err)
	}
	if dropped := set.Dropped(); len(dropped) > 0 {
		return nil, fmt.Errorf("reading own keys: %s", dropped[0])
	}
	return jwks.Fixed(set), nil
}

// Unrevoked is a Ring without its revoked keys: they do not sign and are not published. Package revocation refuses the tokens that
// they have signed. It is safe for concurrent use.
type Unrevoked struct {
	Ring *Ring
	// Revoked reports whether a key is revoked, by its kid.
	Revoked func(kid string) bool
}

func (u Unrevoked) members() []member {
	all := u.Ring.state.Load().members
	kept := make([]member, 0, len(all))
	for _, m := range all {
		if !u.Revoked(m.Signer.KeyID()) {
			kept = append(kept, m)
		}
	}
	return kept
}

// Current returns the key that signs. The newest key that is not revoked replaces a revoked one at once.
func (u Unrevoked) Current() (Signer, error) { return u.Ring.current(u.members()) }

// Document returns the JWK set without revoked keys.
func (u Unrevoked) Document() ([]byte, error) { return u.Ring.document(u.members()) }

// Algorithm returns the algorithm of the Ring.
func (u Unrevoked) Algorithm() Algorithm { return u.Ring.Algorithm() }

// Lookup includes revoked keys: their tokens verify, and are then refused as revoked.
func (u Unrevoked) Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error) {
	return u.Ring.Lookup(ctx, kid, alg)
}

// Holds includes revoked keys.
func (u Unrevoked) Holds(key *jwks.Key) bool { return u.Ring.Holds(key) }
