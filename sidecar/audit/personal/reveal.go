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
			return false, fmt.Errorf("decrypting %s of record %s: it was changed", name, r.ID)
		}
		if err := set(r, Field(name), plain); err != nil {
			return false, fmt.Errorf("decrypting %s of record %s: %w", name, r.ID, err)
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
