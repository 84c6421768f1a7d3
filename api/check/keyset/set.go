// Package keyset strictly parses JSON Web Key Sets (RFC 7517, RFC 7518, RFC 8037, RFC 8725): those of issuers, of Secrets, and
// those in a policy. The operator and the sidecar both use it, so that they apply the same rules.
package keyset

import (
	"crypto/sha256"
	"errors"
)

// MaxSize is the maximum size of a key set, in bytes.
const MaxSize = 512 << 10

// Limits of a key set: the number of keys, and the nesting of its JSON.
const (
	maxKeys  = 1000
	maxDepth = 8
)

// Errors of Set.Lookup. None of them contains anything of a token.
var (
	// ErrUnknownKey means that the set has no key for the token.
	ErrUnknownKey = errors.New("looking up key: the issuer's key set does not have it")
	// ErrAlgorithm means that the key that the token names is for another algorithm (RFC 8725 §3.1).
	ErrAlgorithm = errors.New("looking up key: the key is for another algorithm")
	// ErrAmbiguous means that the token names no key, and too many keys could have signed it.
	ErrAmbiguous = errors.New("looking up key: the token names no key, and too many keys fit")
)

// maxUnnamed is the maximum number of keys that are tried for a token that does not name its key.
const maxUnnamed = 4

// Set has the usable keys of one issuer. It is immutable.
type Set struct {
	keys    []*Key
	byName  map[name]*Key
	ids     map[string]bool
	prints  map[[sha256.Size]byte]bool
	dropped []Dropped
	// length is the number of usable keys. A key with two algorithms counts once.
	length int
}

// name is what a token names its key by. One ID can belong to keys of different algorithms.
type name struct{ id, algorithm string }

func newSet() *Set {
	return &Set{byName: map[name]*Key{}, ids: map[string]bool{}, prints: map[[sha256.Size]byte]bool{}}
}

// errRepeated means that a key has the ID and the algorithm of a different key.
var errRepeated = errors.New("it has the kid and the algorithm of a different key")

// add adds one key with each of its algorithms. The same key again changes nothing.
func (s *Set) add(keys []*Key) error {
	added := false
	for _, key := range keys {
		if s.prints[key.print] {
			continue
		}
		n := name{key.id, key.algorithm.name}
		if key.id != "" {
			if s.byName[n] != nil {
				return errRepeated
			}
			s.byName[n], s.ids[key.id] = key, true
		}
		s.keys, s.prints[key.print], added = append(s.keys, key), true, true
	}
	if added {
		s.length++
	}
	return nil
}

// Len returns the number of usable keys.
func (s *Set) Len() int { return s.length }

// Dropped returns the keys of the document that are not used, in its order.
func (s *Set) Dropped() []Dropped { return s.dropped }

// Lookup returns the keys that may have signed a token. That is the key with the ID kid and the algorithm alg. If kid is empty, it
// is any key with that algorithm; if the set does not have kid, any such key without an ID. More than maxUnnamed keys give
// ErrAmbiguous, so that a token cannot make verification expensive.
func (s *Set) Lookup(kid, alg string) ([]*Key, error) {
	if key := s.byName[name{kid, alg}]; key != nil {
		return []*Key{key}, nil
	}
	if s.ids[kid] {
		return nil, ErrAlgorithm
	}
	var keys []*Key
	for _, key := range s.keys {
		if key.algorithm.name == alg && (kid == "" || key.id == "") {
			keys = append(keys, key)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, ErrUnknownKey
	case len(keys) > maxUnnamed:
		return nil, ErrAmbiguous
	}
	return keys, nil
}

// Holds reports whether key, which may be from an earlier set, is in this set with the same ID, algorithm and material.
func (s *Set) Holds(key *Key) bool { return s.prints[key.print] }
