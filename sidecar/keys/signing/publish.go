package signing

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Current returns the version that signs now, or ErrNoKey.
func (r *Ring) Current() (Signer, error) { return r.current(r.state.Load().members) }

func (r *Ring) current(members []member) (Signer, error) {
	now := r.cfg.Now()
	i := r.timing().current(members, now)
	if i < 0 || r.stale(now) {
		return nil, ErrNoKey
	}
	return members[i].Signer, nil
}

// stale reports whether the key was read too long ago to sign. What it has signed is verified all the same.
func (r *Ring) stale(now time.Time) bool {
	return r.cfg.MaxStale > 0 && now.Sub(r.status.Load().Read) > r.cfg.MaxStale
}

// Algorithm is that of every version.
func (r *Ring) Algorithm() Algorithm { return r.cfg.Algorithm }

// Status reports how the key is.
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

// Lookup returns the published key with this kid and algorithm; with the error of jwks.Source where there is none. A token
// of ours always names its key. An unknown kid may be that of a version which another replica has read already, so the
// source is read once more, at most every few seconds whoever asks.
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
	_ = r.Refresh(ctx) // Status tells; the caller's key stays unknown
}

// Document is the JWK set (RFC 7517 §5) of the published public keys, the current one first. Secrets of HS256 are never in
// it, so it is then empty. The error is ErrNoKey where none has been read yet.
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

// verifying makes the keys that check our own tokens, by the very path that an external issuer's keys take.
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
		return nil, fmt.Errorf("reading our own keys: %w", err)
	}
	if skipped := set.Skipped(); len(skipped) > 0 {
		return nil, fmt.Errorf("reading our own keys: %s", skipped[0])
	}
	return jwks.Fixed(set), nil
}
