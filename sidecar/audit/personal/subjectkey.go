package personal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// SubjectKey is the key of a subject as it is stored. A writer makes its own keys, so that it need not read those of others.
type SubjectKey struct {
	ID uuid.UUID `json:"key_id"`
	// Subject is SubjectHash of the subject.
	Subject []byte `json:"subject"`
	// Wrapped is the nonce and the key, encrypted with AES-256-GCM under the wrapping key, with the ID as additional data.
	Wrapped []byte    `json:"wrapped"`
	Created time.Time `json:"created"`
}

// newSubjectKey returns a new key of a subject.
func (k *Keys) newSubjectKey(subject []byte, now time.Time) (SubjectKey, cipher.AEAD, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return SubjectKey{}, nil, fmt.Errorf("making the key of a subject: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see its documentation
	aead, err := newAEAD(key)
	return SubjectKey{ID: id, Subject: subject, Wrapped: k.wrapping.Seal(nil, nil, key, id[:]), Created: now.UTC()}, aead, err
}

// Encode returns the JSON of the key.
func (s SubjectKey) Encode() ([]byte, error) {
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of a subject: %w", err)
	}
	return encoded, nil
}

// DecodeSubjectKey parses the JSON of a key.
func DecodeSubjectKey(encoded []byte) (s SubjectKey, err error) {
	if err = json.Unmarshal(encoded, &s); err == nil && (s.ID == uuid.Nil || len(s.Subject) != 32 || len(s.Wrapped) == 0) {
		err = errors.New("a field is missing")
	}
	if err != nil {
		return s, fmt.Errorf("decoding the key of a subject: %w", err)
	}
	return s, nil
}

// Unwrap returns the cipher of a stored key.
func (k *Keys) Unwrap(s SubjectKey) (cipher.AEAD, error) {
	key, err := k.wrapping.Open(nil, nil, s.Wrapped, s.ID[:])
	if err != nil {
		return nil, fmt.Errorf("unwrapping the key %s: %w", s.ID, ErrChanged)
	}
	return newAEAD(key)
}
