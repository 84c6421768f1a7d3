package password

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"golang.org/x/crypto/scrypt"
)

// Bounds of scrypt's parameters. The memory is 128·N·r bytes; parse bounds it and the work.
const (
	maxScryptN = 1 << 20
	maxScryptR = 32
	maxScryptP = 16
	scryptSum  = 64
)

// scryptHash is scrypt (RFC 7914).
type scryptHash struct {
	n, r, p   int
	salt, sum []byte
}

func newScrypt(cost [3]string, salt string, sum []byte) (computation, error) {
	var values [3]int
	for i, most := range [3]uint64{maxScryptN, maxScryptR, maxScryptP} {
		v, ok := number(cost[i], 31)
		if !ok || v == 0 {
			return nil, ErrMalformed
		}
		if v > most {
			return nil, ErrTooCostly
		}
		values[i] = int(v)
	}
	h := scryptHash{n: values[0], r: values[1], p: values[2], salt: []byte(salt), sum: sum}
	if h.n < 2 || h.n&(h.n-1) != 0 || len(salt) == 0 || len(salt) > maxForeignSalt || len(sum) != scryptSum {
		return nil, ErrMalformed
	}
	return h, nil
}

// parseDjangoScrypt parses scrypt$N$salt$r$p$sum, with the sum in base64.
func parseDjangoScrypt(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 {
		return nil, ErrMalformed
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(parts[5])
	if err != nil {
		return nil, ErrMalformed
	}
	return newScrypt([3]string{parts[1], parts[3], parts[4]}, parts[2], sum)
}

// parseWerkzeugScrypt parses scrypt:N:r:p$salt$sum, with the sum in hexadecimal.
func parseWerkzeugScrypt(encoded string) (computation, error) {
	parts := strings.Split(encoded, "$")
	method := strings.Split(parts[0], ":")
	if len(parts) != 3 || len(method) != 4 {
		return nil, ErrMalformed
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil {
		return nil, ErrMalformed
	}
	return newScrypt([3]string{method[1], method[2], method[3]}, parts[1], sum)
}

func (h scryptHash) memory() uint32 { return uint32(128*h.n*h.r>>10) + 1 }

// work is an estimate: a core mixes about 256 MiB per second, each byte twice.
func (h scryptHash) work(int) time.Duration {
	return time.Duration(uint64(h.memory()) * uint64(h.p) * uint64(time.Second) >> 18)
}

func (scryptHash) takes(string) bool { return true }

func (h scryptHash) matches(password string) bool {
	sum, err := scrypt.Key([]byte(password), h.salt, h.n, h.r, h.p, len(h.sum))
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}
