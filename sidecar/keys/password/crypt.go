package password

import (
	"crypto/md5" //nolint:gosec // phpass is made of it
	"crypto/sha512"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/go-crypt/x/base64"
	"github.com/go-crypt/x/crypt"
)

// maxCryptPassword is the length in bytes up to which these algorithms compare passwords, as in libxcrypt: they read the password
// in each round, so a long one would multiply the work.
const maxCryptPassword = 512

// Bounds of the rounds of SHA-512-crypt. Its specification raises fewer rounds to the minimum, and has 5000 if none are named.
const (
	minSHARounds     = 1000
	defaultSHARounds = 5000
)

// Lengths in characters.
const (
	maxSHASalt   = 16
	shaSum       = 86
	phpassSalt   = 8
	phpassLength = 34
)

// crypt64 is the alphabet of crypt(3).
const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func isCrypt64(s string) bool {
	return strings.Trim(s, crypt64) == "" // Trim removes all that is in the alphabet, up to the first other character
}

// fits returns a password of bounded length to compute with, and whether it is the whole password.
func fits(password string) (string, bool) {
	return password[:min(len(password), maxCryptPassword)], len(password) <= maxCryptPassword
}

// roundsWork is the estimated time of rounds that read the password: each of them takes a time, and more for each byte of it.
func roundsWork(rounds int, round, perByte time.Duration, length int) time.Duration {
	return time.Duration(rounds) * (round + time.Duration(min(length, maxCryptPassword))*perByte)
}

// sha512Crypt is the $6$ of crypt(3).
type sha512Crypt struct {
	rounds    int
	salt, sum string
}

// parseSHA512Crypt parses $6$rounds=656000$salt$sum, where rounds= may be absent.
func parseSHA512Crypt(encoded string) (computation, error) {
	rest := strings.TrimPrefix(encoded, "$6$")
	h := sha512Crypt{rounds: defaultSHARounds}
	if after, ok := strings.CutPrefix(rest, "rounds="); ok {
		digits, more, _ := strings.Cut(after, "$")
		n, valid := number(digits, 31)
		if !valid {
			return nil, ErrMalformed
		}
		h.rounds, rest = max(int(n), minSHARounds), more
	}
	var ok bool
	h.salt, h.sum, ok = strings.Cut(rest, "$")
	if !ok || len(h.salt) > maxSHASalt || len(h.sum) != shaSum || !isCrypt64(h.salt) || !isCrypt64(h.sum) {
		return nil, ErrMalformed
	}
	return h, nil
}

func (sha512Crypt) memory() uint32 { return 0 }

func (h sha512Crypt) work(length int) time.Duration {
	return roundsWork(h.rounds, 1500*time.Nanosecond, 12*time.Nanosecond, length)
}

func (sha512Crypt) takes(string) bool { return true }

func (h sha512Crypt) matches(password string) bool {
	password, whole := fits(password)
	sum := crypt.KeySHACrypt(sha512.New, []byte(password), []byte(h.salt), h.rounds)
	return subtle.ConstantTimeCompare(sum, []byte(h.sum)) == 1 && whole
}

// phpass is the portable hash of phpass, as WordPress before 6.8 and phpBB 3 stored it: MD5 in 2^n rounds.
type phpass struct {
	rounds    int
	salt, sum string
}

// parsePHPass parses $P$ (or $H$), a character for n, eight of salt and 22 of the sum.
func parsePHPass(encoded string) (computation, error) {
	if len(encoded) != phpassLength || !isCrypt64(encoded[3:]) {
		return nil, ErrMalformed
	}
	n := strings.IndexByte(crypt64, encoded[3])
	switch {
	case n < 7:
		return nil, ErrMalformed
	case n > 20:
		return nil, ErrTooCostly
	}
	return phpass{rounds: 1 << n, salt: encoded[4 : 4+phpassSalt], sum: encoded[4+phpassSalt:]}, nil
}

func (phpass) memory() uint32 { return 0 }

func (h phpass) work(length int) time.Duration {
	return roundsWork(h.rounds, 300*time.Nanosecond, 4*time.Nanosecond, length)
}

func (phpass) takes(string) bool { return true }

func (h phpass) matches(password string) bool {
	password, whole := fits(password)
	sum := md5.Sum([]byte(h.salt + password))
	room := make([]byte, 0, len(sum)+len(password))
	for range h.rounds {
		sum = md5.Sum(append(append(room, sum[:]...), password...))
	}
	return subtle.ConstantTimeCompare(base64.EncodeCrypt(sum[:]), []byte(h.sum)) == 1 && whole
}
