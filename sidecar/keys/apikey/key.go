// Package apikey mints API keys, reads the file of their hashes, and looks keys up in it. A key is
//
//	pstn_ + 30 random characters + 6 characters of checksum
//
// in base62, as GitHub's tokens: the prefix lets secret scanners find leaked keys, and the checksum (CRC-32, IEEE, of everything
// before it) lets them and the sidecar tell a key from other text without a look-up. 30 characters have 178 bits. The file has the
// SHA-256 of a key: a slow hash would protect guessable secrets, and a key of that length cannot be guessed.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// Prefix begins every key.
const Prefix = "pstn_"

const (
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomChars = 30
	sumChars    = 6 // 62^6 > 2^32
	keyLength   = len(Prefix) + randomChars + sumChars
	hashPrefix  = "sha256:"
)

// ErrMalformed is the error of text that no key can be: its length, its characters or its checksum are wrong.
var ErrMalformed = errors.New("not an API key: the prefix, the length or the checksum is wrong")

// Sum is the SHA-256 of a key.
type Sum = [sha256.Size]byte

// New returns a new key of random bytes from the system.
func New() (string, error) { return newKey(rand.Reader) }

func newKey(random io.Reader) (string, error) {
	var b strings.Builder
	b.WriteString(Prefix)
	one := make([]byte, 1)
	for n := 0; n < randomChars; {
		if _, err := io.ReadFull(random, one); err != nil {
			return "", fmt.Errorf("reading random bytes: %w", err)
		}
		if c := int(one[0]); c < 4*len(alphabet) { // without modulo bias
			b.WriteByte(alphabet[c%len(alphabet)])
			n++
		}
	}
	return b.String() + checksum(b.String()), nil
}

// checksum returns the CRC-32 of text in base62.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var out [sumChars]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = alphabet[sum%62]
		sum /= 62
	}
	return string(out[:])
}

// Check returns ErrMalformed for text that no key can be. It does not say whether a key is known.
func Check(key string) error {
	if len(key) != keyLength || !strings.HasPrefix(key, Prefix) {
		return ErrMalformed
	}
	for i := len(Prefix); i < len(key); i++ {
		if strings.IndexByte(alphabet, key[i]) < 0 {
			return ErrMalformed
		}
	}
	if body := key[:keyLength-sumChars]; checksum(body) != key[len(body):] {
		return ErrMalformed
	}
	return nil
}

// Hash returns the hash of a key as the file has it: sha256: and 64 hexadecimal digits.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// parseHash reads a hash of the file.
func parseHash(text string) (sum Sum, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(digits) != 2*len(sum) {
		return sum, errors.New("hash is not sha256: and 64 hexadecimal digits, as `postern apikey new` prints it")
	}
	if _, err := hex.Decode(sum[:], []byte(digits)); err != nil {
		return sum, errors.New("hash has a character that is not a hexadecimal digit")
	}
	return sum, nil
}
