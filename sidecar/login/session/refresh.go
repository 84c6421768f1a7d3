package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// proofBytes and secretBytes are the lengths of the parts of a refresh token.
const (
	proofBytes  = 16
	secretBytes = 32
)

// ErrMalformed reports that a text is not a refresh token.
var ErrMalformed = errors.New("the refresh token is malformed")

// Hash is the SHA-256 of a part of a refresh token.
type Hash [sha256.Size]byte

// Salt determines a token's successor.
type Salt [secretBytes]byte

// NewSalt returns a random salt.
func NewSalt() (s Salt) {
	_, _ = rand.Read(s[:]) // never fails: crypto/rand ends the program instead
	return s
}

// Refresh is a refresh token, "<session id>.<proof and secret>". All tokens of a family have the same proof. It distinguishes an
// old token, whose reuse ends the family, from a forged one with a known session id.
type Refresh struct {
	// ID is the id of the session.
	ID     string
	proof  [proofBytes]byte
	secret [secretBytes]byte
}

// NewRefresh returns the first token of the session id.
func NewRefresh(id string) Refresh {
	r := Refresh{ID: id}
	_, _ = rand.Read(r.proof[:])
	_, _ = rand.Read(r.secret[:])
	return r
}

// ParseRefresh parses a token. The error is ErrMalformed.
func ParseRefresh(token string) (Refresh, error) {
	id, rest, ok := strings.Cut(token, ".")
	if !ok || !ValidID(id) || len(rest) != base64.RawURLEncoding.EncodedLen(proofBytes+secretBytes) {
		return Refresh{}, ErrMalformed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) != proofBytes+secretBytes { // fewer if the decoder skipped new lines
		return Refresh{}, ErrMalformed
	}
	r := Refresh{ID: id}
	copy(r.proof[:], b)
	copy(r.secret[:], b[proofBytes:])
	return r, nil
}

// Token returns the text that the client holds.
func (r Refresh) Token() secret.Value {
	b := append([]byte(r.ID), '.')
	return secret.New(base64.RawURLEncoding.AppendEncode(b, append(r.proof[:], r.secret[:]...)))
}

// Proof returns the hash of the family's proof.
func (r Refresh) Proof() Hash { return sha256.Sum256(r.proof[:]) }

// Hash returns the hash of the token's secret.
func (r Refresh) Hash() Hash { return sha256.Sum256(r.secret[:]) }

// Next returns the token's successor under salt. Computing it requires both the token and the salt.
func (r Refresh) Next(salt Salt) Refresh {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(r.proof[:])
	mac.Write(r.secret[:])
	next := Refresh{ID: r.ID, proof: r.proof}
	mac.Sum(next.secret[:0])
	return next
}

// Follow returns the successor after all salts.
func (r Refresh) Follow(salts []Salt) Refresh {
	for _, salt := range salts {
		r = r.Next(salt)
	}
	return r
}

// IsZero reports whether there is no token.
func (r Refresh) IsZero() bool { return r == Refresh{} }

// String redacts, so that no token is logged.
func (r Refresh) String() string { return "[redacted]" }

// GoString redacts.
func (r Refresh) GoString() string { return "[redacted]" }
