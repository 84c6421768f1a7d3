package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // as other systems used it; PBKDF2 needs no collision resistance
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// maxForeignSalt bounds the salts of other systems, in bytes.
const maxForeignSalt = 128

// pbkdf2Hash is PBKDF2 (RFC 8018 §5.2) with HMAC, whose result has the length of the digest.
type pbkdf2Hash struct {
	digest     string
	iterations int
	salt, sum  []byte
}

// pbkdf2Digest describes a digest: its length in bytes, and the estimated time of one iteration.
type pbkdf2Digest struct {
	length int
	work   time.Duration
}

func pbkdf2Digests(name string) (d pbkdf2Digest, ok bool) {
	switch name {
	case "sha1":
		return pbkdf2Digest{sha1.Size, 250 * time.Nanosecond}, true
	case "sha256":
		return pbkdf2Digest{sha256.Size, 300 * time.Nanosecond}, true
	case "sha512":
		return pbkdf2Digest{sha512.Size, 800 * time.Nanosecond}, true
	}
	return pbkdf2Digest{}, false
}

// newPBKDF2 checks the parameters. iterations is a decimal without sign.
func newPBKDF2(digest, iterations string, salt, sum []byte) (computation, error) {
	d, known := pbkdf2Digests(digest)
	n, ok := number(iterations, 31)
	if !known || !ok || n == 0 || len(salt) == 0 || len(salt) > maxForeignSalt || len(sum) != d.length {
		return nil, ErrMalformed
	}
	return pbkdf2Hash{digest: digest, iterations: int(n), salt: salt, sum: sum}, nil
}

// parseDjangoPBKDF2 parses pbkdf2_sha256$iterations$salt$sum, with the sum in base64.
func parseDjangoPBKDF2(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 4 {
		return nil, ErrMalformed
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(parts[3])
	if err != nil {
		return nil, ErrMalformed
	}
	return newPBKDF2(strings.TrimPrefix(parts[0], "pbkdf2_"), parts[1], []byte(parts[2]), sum)
}

// parseWerkzeugPBKDF2 parses pbkdf2:sha256:iterations$salt$sum, with the sum in hexadecimal.
func parseWerkzeugPBKDF2(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	method := strings.Split(parts[0], ":")
	if len(parts) != 3 || len(method) != 3 {
		return nil, ErrMalformed
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil {
		return nil, ErrMalformed
	}
	return newPBKDF2(method[1], method[2], []byte(parts[1]), sum)
}

// parsePasslibPBKDF2 parses $pbkdf2-sha256$rounds$salt$sum in passlib's base64, which has a dot in place of the plus, and no padding.
func parsePasslibPBKDF2(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 5 {
		return nil, ErrMalformed
	}
	digest := strings.TrimPrefix(strings.TrimPrefix(parts[1], "pbkdf2"), "-")
	if digest == "" {
		digest = "sha1"
	}
	salt, saltOK := decode(strings.ReplaceAll(parts[3], ".", "+"), 1, maxForeignSalt)
	sum, sumOK := decode(strings.ReplaceAll(parts[4], ".", "+"), sha1.Size, sha512.Size)
	if !saltOK || !sumOK {
		return nil, ErrMalformed
	}
	return newPBKDF2(digest, parts[2], salt, sum)
}

func (pbkdf2Hash) memory() uint32 { return 0 }

func (h pbkdf2Hash) work(int) time.Duration {
	d, _ := pbkdf2Digests(h.digest)
	return time.Duration(h.iterations) * d.work
}

func (pbkdf2Hash) takes(string) bool { return true }

func (h pbkdf2Hash) matches(password string) bool {
	var sum []byte
	var err error
	switch h.digest {
	case "sha1":
		sum, err = pbkdf2.Key(sha1.New, password, h.salt, h.iterations, len(h.sum))
	case "sha512":
		sum, err = pbkdf2.Key(sha512.New, password, h.salt, h.iterations, len(h.sum))
	default:
		sum, err = pbkdf2.Key(sha256.New, password, h.salt, h.iterations, len(h.sum))
	}
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}
