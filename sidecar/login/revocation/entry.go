// Package revocation refuses tokens before they expire: one token by its jti, a session, all that a subject was issued
// before a time, or all that a key has signed, for our own tokens and for those of any provider. In the request path it is a
// local look-up in an Index, which a store feeds: revocation/redis, shared by every sidecar, or revocation/memory.
package revocation

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Kind is what an Entry names.
type Kind string

// Token names a token by its jti, Session by sid, and Key by the kid of the key that signed it. Subject names every token
// of a subject that was issued before a time.
const (
	Token   Kind = "Token"
	Session Kind = "Session"
	Subject Kind = "Subject"
	Key     Kind = "Key"
)

// Bounds of an Entry's strings, in bytes, and of how long it is kept.
const (
	maxIssuer = 512
	maxValue  = 512
	// MaxRetention is the longest time for which an entry is kept.
	MaxRetention = 400 * 24 * time.Hour
)

// ErrInvalid matches errors of an entry that no store may keep.
var ErrInvalid = errors.New("invalid revocation")

// ErrFull: the store in memory has no room for another entry, which is therefore not revoked.
var ErrFull = errors.New("no room for another revocation")

// Entry revokes tokens of one issuer.
type Entry struct {
	Kind Kind
	// Issuer is the claim iss of the tokens.
	Issuer string
	// Value is the jti, sid, sub or kid.
	Value string
	// Before is for Subject alone: tokens with an earlier iat are revoked, and those without iat. A token has whole seconds:
	// one issued in the same second as Before, but after it, counts as issued before. It is after 1970 and at most MaxRetention
	// ahead: stores write it with a fixed number of digits.
	Before time.Time
	// Expires is when the last of the tokens will have expired; the entry is gone from then on.
	Expires time.Time
}

// Check returns an ErrInvalid for what no store may keep at the time now.
func (e Entry) Check(now time.Time) error {
	switch {
	case e.Kind != Token && e.Kind != Session && e.Kind != Subject && e.Kind != Key:
		return fmt.Errorf("%w: unknown kind", ErrInvalid)
	case e.Issuer == "" || len(e.Issuer) > maxIssuer || !utf8.ValidString(e.Issuer):
		return fmt.Errorf("%w: the issuer is not 1 to %d bytes of UTF-8", ErrInvalid, maxIssuer)
	case e.Value == "" || len(e.Value) > maxValue || !utf8.ValidString(e.Value):
		return fmt.Errorf("%w: the value is not 1 to %d bytes of UTF-8", ErrInvalid, maxValue)
	case (e.Kind == Subject) == e.Before.IsZero():
		return fmt.Errorf("%w: a time before which tokens were issued is needed for kind %s, and for no other", ErrInvalid, Subject)
	case e.Kind == Subject && (e.Before.Unix() < 1 || e.Before.Sub(now) > MaxRetention):
		return fmt.Errorf("%w: the time before which tokens were issued is before 1970, or more than %s ahead", ErrInvalid, MaxRetention)
	case e.Expires.IsZero() || e.Expires.Sub(now) > MaxRetention:
		return fmt.Errorf("%w: it does not expire within %s", ErrInvalid, MaxRetention)
	}
	return nil
}

// ID names what e revokes, whatever its times: 22 characters.
func (e Entry) ID() string {
	b := append([]byte("postern revocation\x00"), e.Kind...)
	b = binary.AppendUvarint(append(b, 0), uint64(len(e.Issuer)))
	b = append(append(b, e.Issuer...), e.Value...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Merge returns the entry that revokes what a and b revoke; they have one ID.
func Merge(a, b Entry) Entry {
	if b.Before.After(a.Before) {
		a.Before = b.Before
	}
	if b.Expires.After(a.Expires) {
		a.Expires = b.Expires
	}
	return a
}

// Position says how much of a store's history was seen.
type Position struct {
	// Generation names one life of the store's content: another one means that Redis was flushed or lost its data.
	Generation string `json:"generation"`
	// Sequence counts the changes in the generation.
	Sequence int64 `json:"sequence"`
}

// Covers reports whether whoever is at p has seen the change at q. It is false where the generations differ: what was
// revoked in another one is to be revoked again.
func (p Position) Covers(q Position) bool {
	return p.Generation == q.Generation && p.Generation != "" && p.Sequence >= q.Sequence
}

// String is for logs and status.
func (p Position) String() string { return fmt.Sprintf("%s/%d", p.Generation, p.Sequence) }

// Store takes revocations. Implementations: revocation/redis and revocation/memory.
type Store interface {
	// Add revokes. It is idempotent: an entry that is in the store already, for as long and as much, changes nothing. The
	// position is one that covers all the entries. Errors match ErrInvalid or ErrFull, or mean that nothing is known.
	Add(ctx context.Context, entries ...Entry) (Position, error)
}
