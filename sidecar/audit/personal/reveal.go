package personal

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Find returns the stored key with the id; ok is false if it was erased.
type Find func(id uuid.UUID) (key SubjectKey, ok bool, err error)

// ErrChanged says that a record or the key of its subject is not what a sidecar with this master key wrote.
var ErrChanged = errors.New("it was changed, or written with another master key")

// Reveal decrypts the fields of r, as far as their key was not erased. It reports whether all could be read.
func Reveal(r *record.Record, keys *Keys, find Find) (complete bool, err error) {
	if r.Encrypted == nil {
		return true, nil
	}
	stored, ok, err := find(r.Encrypted.Key)
	if err != nil || !ok {
		return false, err
	}
	aead, err := keys.Unwrap(stored)
	if err != nil {
		return false, err
	}
	for name, sealed := range r.Encrypted.Fields {
		plain, err := aead.Open(nil, nil, sealed, context(r, Field(name)))
		if err != nil {
			return false, fmt.Errorf("decrypting %q of record %s: %w", name, r.ID, ErrChanged)
		}
		if err := set(r, Field(name), plain); err != nil {
			return false, fmt.Errorf("decrypting %q of record %s: %w: %w", name, r.ID, ErrChanged, err)
		}
	}
	r.Encrypted = nil
	return true, nil
}

func set(r *record.Record, f Field, plain []byte) error {
	switch f {
	case IPAddress:
		return json.Unmarshal(plain, &r.IPAddress)
	case UserAgent:
		return json.Unmarshal(plain, &r.UserAgent)
	case Changes:
		return json.Unmarshal(plain, &r.Changes)
	}
	return errors.New("the field is not known")
}
