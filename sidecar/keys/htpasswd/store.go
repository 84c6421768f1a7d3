package htpasswd

import (
	"time"

	"github.com/posterndev/postern/sidecar/keys/keyfile"
)

// Store has the current file of a source, and verifies its users. It is safe for concurrent use.
type Store struct {
	*keyfile.Store[*File]
	*Verifier
}

// Open reads the source once, and then in the background until Close. A nil now means time.Now.
func Open(source keyfile.Source, hasher Hasher, now func() time.Time) (*Store, error) {
	v, err := NewVerifier(hasher, now)
	if err != nil {
		return nil, err
	}
	parse := func(data []byte, _ *File) (*File, error) { return Parse(data) }
	return &Store{Store: keyfile.Open(source, keyfile.Format[*File]{Entries: "basic users", Parse: parse}), Verifier: v}, nil
}

// Unchanged reports whether f still has the user with the hash of the earlier file.
func (f *File) Unchanged(earlier *File, name string) bool {
	hash := f.hashes[name]
	return hash != "" && hash == earlier.hashes[name]
}
