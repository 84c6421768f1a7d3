package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// claim is the session that a token claims.
type claim struct {
	// id is empty if the token names no session.
	id       string
	owner    Owner
	external bool
	// authenticated is when the user logged in at the external issuer; zero if unknown.
	authenticated time.Time
}

// claimOf returns the session of a token, and false for a token that needs none.
func (c *checker) claimOf(id *identity.Identity) (claim, bool) {
	if slices.Contains(c.Sessionless, id.Issuer) {
		return claim{}, false
	}
	sid, _ := id.Claims["sid"].(string)
	if c.Issuer != "" && id.Issuer == c.Issuer {
		if _, has := id.Claims["sid"]; !has {
			return claim{}, false
		}
		if !ValidID(sid) {
			sid = ""
		}
		return claim{id: sid, owner: Owner{Subject: id.Subject}}, true
	}
	if c.SubjectFrom == FromNone {
		return claim{}, false
	}
	out := claim{external: true, owner: Owner{Issuer: id.Issuer, Subject: id.Subject}, authenticated: dateOf(id.Claims["auth_time"])}
	if c.SubjectFrom == FromSub && out.authenticated.IsZero() { // a session per subject has no other sign of a new login
		out.authenticated = id.IssuedAt
	}
	out.id = ExternalIDOf(id, c.SubjectFrom)
	return out, true
}

// ExternalIDOf returns the id of the external session of a verified token; empty for none.
func ExternalIDOf(id *identity.Identity, from SubjectFrom) string {
	value, _ := id.Claims["sid"].(string)
	if from == FromSub {
		value = id.Subject
	}
	if from == FromNone || value == "" {
		return ""
	}
	return ExternalID(id.Issuer, value)
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

// dateOf returns a NumericDate (RFC 7519 §2); zero for none.
func dateOf(v any) time.Time {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}
	}
	seconds, err := n.Float64()
	if err != nil || seconds <= 0 || seconds > maxDate {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// idBytes is the length of an id: 128 bits, as ASVS 7.2.3 requires.
const idBytes = 16

// idLength is the number of characters of an id.
const idLength = (idBytes*8 + 5) / 6

// NewID returns a random id. A login always gets a new one, whatever the client sent (session fixation).
func NewID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ValidID reports whether id has the form of an id. No other text becomes part of a key.
func ValidID(id string) bool {
	if len(id) != idLength {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(b) == idBytes // fewer if the decoder skipped new lines
}

// ExternalID returns the id of an external session. Value is the claim sid, or sub if the policy tracks one session per subject.
func ExternalID(issuer, value string) string {
	var room [256]byte // of most issuers and values
	b := binary.AppendUvarint(append(room[:0], "postern session\x00"...), uint64(len(issuer)))
	b = append(append(b, issuer...), value...)
	sum := sha256.Sum256(b)
	var id [idLength]byte
	base64.RawURLEncoding.Encode(id[:], sum[:idBytes])
	return string(id[:])
}
