package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// idBytes is the length of an id: 128 bits, as ASVS 7.2.3 asks for.
const idBytes = 16

// idLength is the number of characters of an id.
const idLength = (idBytes*8 + 5) / 6

// NewID returns a random id. A login always gets a new one, whatever the client sent (session fixation).
func NewID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ValidID reports whether id has the form of an id, so that no other text becomes part of a key.
func ValidID(id string) bool {
	if len(id) != idLength {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(b) == idBytes // fewer where the decoder left out new lines
}

// ExternalID is the id under which the session of an external issuer is kept. Value is its claim sid, or sub where the
// policy keeps one session for each subject.
func ExternalID(issuer, value string) string {
	b := binary.AppendUvarint([]byte("postern session\x00"), uint64(len(issuer)))
	b = append(append(b, issuer...), value...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:idBytes])
}
