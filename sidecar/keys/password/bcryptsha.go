package password

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// prehashed is bcrypt over a digest of the password, by which any length is used. The digest is text, because bcrypt stops at a NUL.
type prehashed struct {
	computation
	digest func(password string) string
}

func newPrehashed(encoded string, digest func(string) string) (computation, error) {
	h, err := parseBcrypt(encoded)
	if err != nil {
		return nil, err
	}
	return prehashed{computation: h, digest: digest}, nil
}

func (prehashed) takes(string) bool { return true }

func (h prehashed) matches(password string) bool { return h.computation.matches(h.digest(password)) }

// parseDjangoBcryptSHA256 parses what follows "bcrypt_sha256$" in Django's hash: bcrypt over the hexadecimal SHA-256.
func parseDjangoBcryptSHA256(encoded string) (computation, error) {
	return newPrehashed(encoded, func(password string) string {
		sum := sha256.Sum256([]byte(password))
		return hex.EncodeToString(sum[:])
	})
}

// parseWordPress parses what follows "$wp" in the hashes of WordPress since 6.8: bcrypt over an HMAC of the password without white space
// around it.
func parseWordPress(encoded string) (computation, error) {
	return newPrehashed(encoded, func(password string) string {
		mac := hmac.New(sha512.New384, []byte("wp-sha384"))
		mac.Write([]byte(strings.Trim(password, " \t\n\r\x00\v")))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
}

// parsePasslibBcryptSHA256 parses passlib's two versions: $bcrypt-sha256$v=2,t=2b,r=12$salt$sum, with an HMAC whose key is the salt's
// text, and $bcrypt-sha256$2b,12$salt$sum, with a plain SHA-256.
func parsePasslibBcryptSHA256(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 5 || len(parts[3]) != 22 || len(parts[4]) != 31 {
		return nil, ErrMalformed
	}
	cost, keyed := strings.CutPrefix(parts[2], "v=2,t=")
	variant, rounds, ok := strings.Cut(cost, ",")
	if keyed {
		if rounds, ok = strings.CutPrefix(rounds, "r="); !ok {
			return nil, ErrMalformed
		}
	}
	n, valid := number(rounds, 8)
	if !ok || !valid || n > 99 {
		return nil, ErrMalformed
	}
	rounds = string([]byte{'0' + byte(n/10), '0' + byte(n%10)})
	salt := parts[3]
	return newPrehashed("$"+variant+"$"+rounds+"$"+salt+parts[4], func(password string) string {
		if !keyed {
			sum := sha256.Sum256([]byte(password))
			return base64.StdEncoding.EncodeToString(sum[:])
		}
		mac := hmac.New(sha256.New, []byte(salt))
		mac.Write([]byte(password))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
}
