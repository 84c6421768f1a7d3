// Package revocation refuses tokens before they expire: one token by its jti, the tokens of a session, all tokens that a subject
// got before a time, or all tokens that a key has signed. It works for the policy's own tokens and for those of any external
// issuer. In the request path it is a local look-up in an Index. The Index follows a store: revocationredis, shared by all
// sidecars, or revocationmemory.
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

// Kind is the kind of an Entry.
type Kind string

// Token revokes a token by its jti, Session the tokens of a sid, and Key the tokens that the key of a kid has signed. Subject revokes
// every token of a subject that was issued before a time.
const (
	Token   Kind = "Token"
	Session Kind = "Session"
	Subject Kind = "Subject"
	Key     Kind = "Key"
)

// Bounds of an Entry: of its strings, in bytes, and of its lifetime.
const (
	maxIssuer = 512
	maxValue  = 512
	// MaxRetention is the maximum lifetime of an entry.
	MaxRetention = 400 * 24 * time.Hour
	// clockDifference is how far a store's clock may be behind that of the sidecar which computes an expiry.
	clockDifference = time.Hour
)

// ExpiryAfter returns the expiry of an entry whose tokens live for lifetime after now. A lifetime that is longer than stores
// accept is cut, because a revocation of about MaxRetention is better than none. So is a negative one: it is a sum that
// overflowed.
func ExpiryAfter(now time.Time, lifetime time.Duration) time.Time {
	const longest = MaxRetention - clockDifference
	if lifetime < 0 || lifetime > longest {
		lifetime = longest
	}
	return now.Add(lifetime)
}

// ErrInvalid matches the errors of invalid entries.
var ErrInvalid = errors.New("invalid revocation")

// ErrFull reports that the store in memory is full. The entry is not revoked.
var ErrFull = errors.New("no room for another revocation")

// Entry revokes tokens of one issuer.
type Entry struct {
	Kind Kind
	// Issuer is the claim iss of the tokens.
	Issuer string
	// Value is the jti, sid, sub or kid.
	Value string
	// Before is for Subject only: tokens with an earlier iat, and those without iat, are revoked. The iat has whole seconds, so a
	// token issued after Before in the same second is revoked, too. It must be after 1970 and at most MaxRetention in the
	// future: stores write it with a fixed number of digits.
	Before time.Time
	// Expires is when the last of the tokens has expired. The entry is dropped at that time.
	Expires time.Time
}

// Check returns an error that matches ErrInvalid if a store must not take e at the time now.
func (e Entry) Check(now time.Time) error {
	switch {
	case e.Kind != Token && e.Kind != Session && e.Kind != Subject && e.Kind != Key:
		return fmt.Errorf("%w: unknown kind", ErrInvalid)
	case e.Issuer == "" || len(e.Issuer) > maxIssuer || !utf8.ValidString(e.Issuer):
		return fmt.Errorf("%w: the issuer must be 1 to %d bytes of UTF-8", ErrInvalid, maxIssuer)
	case e.Value == "" || len(e.Value) > maxValue || !utf8.ValidString(e.Value):
		return fmt.Errorf("%w: the value must be 1 to %d bytes of UTF-8", ErrInvalid, maxValue)
	case (e.Kind == Subject) == e.Before.IsZero():
		return fmt.Errorf("%w: kind %s requires the time before which tokens were issued, and no other kind allows it", ErrInvalid, Subject)
	case e.Kind == Subject && (e.Before.Unix() < 1 || e.Before.Sub(now) > MaxRetention):
		return fmt.Errorf("%w: the time before which tokens were issued must be after 1970 and at most %s in the future", ErrInvalid, MaxRetention)
	case e.Expires.IsZero() || e.Expires.Sub(now) > MaxRetention:
		return fmt.Errorf("%w: it must expire within %s", ErrInvalid, MaxRetention)
	}
	return nil
}

// ID identifies what e revokes, independent of its times. It has 22 characters.
func (e Entry) ID() string {
	b := append([]byte("postern revocation\x00"), e.Kind...)
	b = binary.AppendUvarint(append(b, 0), uint64(len(e.Issuer)))
	b = append(append(b, e.Issuer...), e.Value...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Merge returns the entry that revokes what a and b revoke. Both have the same ID.
func Merge(a, b Entry) Entry {
	if b.Before.After(a.Before) {
		a.Before = b.Before
	}
	if b.Expires.After(a.Expires) {
		a.Expires = b.Expires
	}
	return a
}

// Position is a position in a store's history.
type Position struct {
	// Generation identifies the content of the store. It changes if Redis is flushed or loses its data.
	Generation string `json:"generation"`
	// Sequence counts the changes in the generation.
	Sequence int64 `json:"sequence"`
}

// Covers reports whether a reader at p has seen the change at q. It is false if the generations differ: what was revoked in
// another generation must be revoked again.
func (p Position) Covers(q Position) bool {
	return p.Generation == q.Generation && p.Generation != "" && p.Sequence >= q.Sequence
}

// String formats p for logs and status.
func (p Position) String() string { return fmt.Sprintf("%s/%d", p.Generation, p.Sequence) }

// Store stores revocations. Implementations are revocationredis and revocationmemory.
type Store interface {
	// Add revokes. It is idempotent: an entry that the store already covers changes nothing. The returned position covers all
	// entries. Errors match ErrInvalid or ErrFull; after any other error the outcome is unknown.
	Add(ctx context.Context, entries ...Entry) (Position, error)
}
