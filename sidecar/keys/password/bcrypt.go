package password

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/api/check"
)

// Bounds of bcrypt: OWASP's minimum cost, the cost above which a verification takes seconds, and the number of bytes of a password that
// bcrypt uses.
const (
	minCost   = check.MinBcryptCost
	maxCost   = check.MaxBcryptCost
	maxBcrypt = 72
)

// bcryptLength is the length of every hash: "$2b$12$" and 53 characters.
const bcryptLength = 60

type bcryptHash struct {
	encoded string
	cost    int
}

func newBcrypt(password string, cost int) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", fmt.Errorf("hashing password: %w", err)
	}
	return string(b), nil
}

// parseBcrypt parses hashes of the variants 2a, 2b and 2y, which are the same for passwords of up to 72 bytes without NUL. 2x marks
// hashes of a defective implementation, which collide (CVE-2011-2483).
func parseBcrypt(encoded string) (hash, error) {
	if len(encoded) != bcryptLength {
		return nil, ErrMalformed
	}
	switch encoded[:4] {
	case "$2a$", "$2b$", "$2y$":
	default:
		return nil, ErrMalformed
	}
	cost, err := bcrypt.Cost([]byte(encoded))
	if err != nil || encoded[6] != '$' || !isBcrypt64(encoded[7:]) {
		return nil, ErrMalformed
	}
	if cost > maxCost {
		return nil, ErrTooCostly
	}
	return bcryptHash{encoded: encoded, cost: cost}, nil
}

// isBcrypt64 reports whether s is in bcrypt's base64 alphabet.
func isBcrypt64(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '/') {
			return false
		}
	}
	return true
}

// decoyBcrypt returns a well-formed hash of no known password: its salt and sum are random.
func decoyBcrypt(cost int) hash {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var random [53]byte
	_, _ = rand.Read(random[:]) // never fails, crypto/rand.Read
	var b strings.Builder
	fmt.Fprintf(&b, "$2b$%02d$", cost)
	for i, c := range random {
		c %= 64
		if i == 21 { // the salt's last character holds two bits
			c &^= 15
		}
		b.WriteByte(alphabet[c])
	}
	return bcryptHash{encoded: b.String(), cost: cost}
}

func (bcryptHash) memory() uint32 { return 0 }

func (h bcryptHash) work(int) time.Duration { return bcryptWork(h.cost) }

// bcryptWork is an estimate: a core computes cost 10 in about 60 ms, and each step doubles the time.
func bcryptWork(cost int) time.Duration {
	return 60 * time.Millisecond << max(0, cost-minCost)
}

func (bcryptHash) takes(password string) bool { return len(password) <= maxBcrypt }

func (h bcryptHash) matches(password string) bool {
	fits := len(password) <= maxBcrypt && strings.IndexByte(password, 0) < 0
	if !fits {
		password = "" // compute a hash anyway, for constant time
	}
	return bcrypt.CompareHashAndPassword([]byte(h.encoded), []byte(password)) == nil && fits
}

func (h bcryptHash) weaker(c Config) bool { return c.Algorithm != Bcrypt || h.cost < c.BcryptCost }

// IsBcrypt reports whether encoded is a hash of bcrypt that Verify accepts.
func IsBcrypt(encoded string) bool {
	_, err := parseBcrypt(encoded)
	return err == nil
}
