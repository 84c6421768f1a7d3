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

// ErrMalformed is the error of a text that no refresh token can be.
var ErrMalformed = errors.New("the refresh token is malformed")

// Hash is the SHA-256 of a part of a refresh token.
type Hash [sha256.Size]byte

// Salt makes a token's successor.
type Salt [secretBytes]byte

// NewSalt returns a random salt.
func NewSalt() (s Salt) {
	_, _ = rand.Read(s[:]) // never fails: crypto/rand ends the program instead
	return s
}

// Refresh is a refresh token, "<session id>.<proof and secret>". The proof is the same for all tokens of a family: it tells
// an old token, whose reuse ends the family, from an invention of someone who knows the session's id alone.
type Refresh struct {
	// ID is the session's.
	ID     string
	proof  [proofBytes]byte
	secret [secretBytes]byte
}

// NewRefresh returns the first token of the family of the session id.
func NewRefresh(id string) Refresh {
	r := Refresh{ID: id}
	_, _ = rand.Read(r.proof[:])
	_, _ = rand.Read(r.secret[:])
	return r
}

// ParseRefresh reads a token. The error is ErrMalformed.
func ParseRefresh(token string) (Refresh, error) {
	id, rest, ok := strings.Cut(token, ".")
	if !ok || !ValidID(id) || len(rest) != base64.RawURLEncoding.EncodedLen(proofBytes+secretBytes) {
		return Refresh{}, ErrMalformed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) != proofBytes+secretBytes { // fewer where the decoder left out new lines
		return Refresh{}, ErrMalformed
	}
	r := Refresh{ID: id}
	copy(r.proof[:], b)
	copy(r.secret[:], b[proofBytes:])
	return r, nil
}

// Token is what the client holds.
func (r Refresh) Token() secret.Value {
	b := append([]byte(r.ID), '.')
	return secret.New(base64.RawURLEncoding.AppendEncode(b, append(r.proof[:], r.secret[:]...)))
}

// Proof is the hash of the family's proof.
func (r Refresh) Proof() Hash { return sha256.Sum256(r.proof[:]) }

// Hash is the hash of the token's secret.
func (r Refresh) Hash() Hash { return sha256.Sum256(r.secret[:]) }

// Next is the token's successor under salt. Without the token or without the salt nobody can compute it.
func (r Refresh) Next(salt Salt) Refresh {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(r.proof[:])
	mac.Write(r.secret[:])
	next := Refresh{ID: r.ID, proof: r.proof}
	mac.Sum(next.secret[:0])
	return next
}

// Follow returns the token at the end of salts.
func (r Refresh) Follow(salts []Salt) Refresh {
	for _, salt := range salts {
		r = r.Next(salt)
	}
	return r
}

// IsZero reports whether there is no token.
func (r Refresh) IsZero() bool { return r == Refresh{} }

// String redacts, so that a token never gets into a log.
func (r Refresh) String() string { return "[redacted]" }

// GoString redacts.
func (r Refresh) GoString() string { return "[redacted]" }
