// Package dpop verifies proofs of possession of a key (DPoP, RFC 9449). Package jwt parses them, as it does tokens. A token that is bound to a key
// (cnf.jkt) is accepted only with a proof that the key signed for this request and this token.
//
// A nonce of the server (RFC 9449 §9) is not supported, and the claim is ignored. A proof is valid for a short time after its iat, once.
package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// Reasons why a proof is refused, in addition to those of package jwt. OtherKey is about a valid proof of another token.
const (
	Invalid  jwt.Reason = "invalid_dpop_proof"
	OtherKey jwt.Reason = "other_dpop_key"
)

// Problem says what is wrong with a proof, in words for the client. It contains nothing of the proof, and no quote.
type Problem string

// Error implements error.
func (p Problem) Error() string { return string(p) }

// MaxSize is the maximum length of a proof, and maxID that of its jti, in bytes. The largest proofs have an RSA key of 8,192 bits and its signature.
const (
	MaxSize = 6 << 10
	maxID   = 256
)

// mediaType is the typ of proofs, in the form of jwt.MediaType.
const mediaType = "dpop+jwt"

// Algorithms returns the algorithms of proofs that are accepted by default. None is symmetric: the key is in the proof.
func Algorithms() []string {
	return []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

// Binding is the key that a token is bound to. It is safe for concurrent use.
type Binding struct {
	key Thumbprint
	// tokenHash is ath in the proofs of the token.
	tokenHash string
	// known is the key of the latest good proof, so that most proofs need no parsing of a key. Its thumbprint is key.
	known atomic.Pointer[jwks.Key]
}

// NewBinding returns the binding of a token to the key whose thumbprint is in its claim cnf.jkt.
func NewBinding(jkt, token string) (*Binding, error) {
	key, err := ParseThumbprint(jkt)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(token))
	return &Binding{key: key, tokenHash: base64.RawURLEncoding.EncodeToString(sum[:])}, nil
}

// Key returns the thumbprint of the key.
func (b *Binding) Key() Thumbprint { return b.key }

// Request is what a proof must be for.
type Request struct {
	Method string
	// Scheme is "https" or "http"; empty if it is not known, so that both are accepted.
	Scheme string
	// Host is the host with its port, if it has one, and Path the path as the client sent it.
	Host, Path string
}

// Rules are the rules for proofs.
type Rules struct {
	// Algorithms are the accepted algorithms.
	Algorithms []string
	// MaxAge is how long a proof is accepted after its iat. Leeway is the accepted clock difference.
	MaxAge, Leeway time.Duration
}

// Lifetime is how long a used proof must be remembered.
func (r Rules) Lifetime() time.Duration { return r.MaxAge + 2*r.Leeway }

// Verify verifies a proof (RFC 9449 §4.3), except that it may have been used before. It returns the proof's jti. An error has the reason Invalid, or OtherKey.
func (b *Binding) Verify(proof string, q Request, rules Rules, now time.Time) (id string, err error) {
	id, err = b.verify(proof, q, rules, now)
	switch {
	case err == nil:
		return id, nil
	case jwt.ReasonOf(err) == OtherKey:
		return "", err
	}
	return "", jwt.Because(Invalid, err)
}

func (b *Binding) verify(proof string, q Request, rules Rules, now time.Time) (id string, err error) {
	if len(proof) > MaxSize {
		return "", Problem(fmt.Sprintf("it has more than %d bytes", MaxSize))
	}
	p, err := jwt.Parse(proof)
	switch {
	case err != nil:
		return "", err
	case jwt.MediaType(p.Type) != mediaType:
		return "", Problem("its typ is not dpop+jwt")
	case !slices.Contains(rules.Algorithms, p.Algorithm):
		return "", Problem("its alg is not accepted")
	}
	if id, err = b.checkClaims(p.Claims, q, rules, now); err != nil {
		return "", err
	}
	// The signature is last, because it costs most.
	return id, b.checkSignature(p)
}

func (b *Binding) checkClaims(claims map[string]any, q Request, rules Rules, now time.Time) (id string, err error) {
	id, _ = claims["jti"].(string)
	if id == "" || len(id) > maxID {
		return "", Problem(fmt.Sprintf("its jti is not a string of 1 to %d bytes", maxID))
	}
	if claims["htm"] != q.Method {
		return "", Problem("its htm is not the method of the request")
	}
	uri, _ := claims["htu"].(string)
	if err := q.matches(uri); err != nil {
		return "", err
	}
	if claims["ath"] != b.tokenHash {
		return "", Problem("its ath is not the hash of the token")
	}
	return id, checkIssued(claims["iat"], rules, now)
}

// checkIssued accepts iat from MaxAge ago to now, with the leeway.
func checkIssued(iat any, rules Rules, now time.Time) error {
	number, _ := iat.(json.Number)
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > maxTime {
		return Problem("its iat is not a time")
	}
	issued := time.Unix(int64(seconds), 0)
	switch {
	case issued.After(now.Add(rules.Leeway)):
		return Problem("its iat is in the future")
	case issued.Before(now.Add(-rules.MaxAge - rules.Leeway)):
		return Problem("its iat is too long ago")
	}
	return nil
}

// maxTime is the last second of the year 9999.
const maxTime = 253402300799

// checkSignature verifies the signature with the key in the header, which must be the one that the token is bound to.
func (b *Binding) checkSignature(p *jwt.Unverified) error {
	jwk, _ := p.Header["jwk"].(map[string]any)
	members, err := publicMembers(jwk, p.Algorithm)
	if err != nil {
		return err
	}
	if sha256.Sum256(members) != b.key {
		return OtherKey
	}
	if key := b.known.Load(); key != nil && key.Algorithm() == p.Algorithm {
		return p.VerifyWith(key)
	}
	key, err := parseKey(members, p.Algorithm)
	if err != nil {
		return err
	}
	if err := p.VerifyWith(key); err != nil {
		return err
	}
	b.known.Store(key)
	return nil
}
