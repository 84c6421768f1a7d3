package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	cryptargon2 "github.com/go-crypt/x/argon2"
	"golang.org/x/crypto/argon2"

	"github.com/posterndev/postern/api/check"
)

// argon2Version is the version in the supported PHC strings: 1.3.
const argon2Version = "v=19"

// Bounds of the cost of a hash. Config.Memory bounds the memory as well. maxWork is passes times KiB: at about 1 GiB per second and
// core, one verification takes at most about a second.
const (
	maxTime    = check.MaxArgon2Passes
	maxThreads = check.MaxArgon2Lanes
	maxWork    = check.MaxArgon2Work
)

// The variants of argon2.
const (
	argon2id = "argon2id"
	argon2i  = "argon2i"
	argon2d  = "argon2d"
)

// Lengths in bytes: of new salts and sums, and bounds of those in hashes to verify.
const (
	saltLength         = 16
	sumLength          = 32
	minSalt, maxSalt   = 8, 64
	minSum, maxSum     = 16, 64
	minMemoryPerThread = 8 // KiB, RFC 9106 §3.1
	maxEncoded         = 512
)

// Argon2 is the cost of argon2id.
type Argon2 struct {
	// Time is the number of passes, t.
	Time uint32
	// Memory is m, in KiB.
	Memory uint32
	// Threads is p.
	Threads uint8
}

// DefaultArgon2 returns the minimum of OWASP with little memory: t=2, m=19 MiB, p=1.
func DefaultArgon2() Argon2 { return Argon2{Time: 2, Memory: 19 << 10, Threads: 1} }

// check rejects a cost that is too low or too high for new hashes.
func (a Argon2) check() error {
	err := errors.Join(check.Argon2Passes(int(a.Time)), check.Argon2Lanes(int(a.Threads)), check.Argon2Memory(int(a.Memory), int(a.Time)))
	if err != nil {
		return fmt.Errorf("argon2id: %w", err)
	}
	return nil
}

func (a Argon2) bounded() bool {
	return a.Time <= maxTime && a.Threads >= 1 && a.Threads <= maxThreads && uint64(a.Time)*uint64(a.Memory) <= maxWork
}

type argon2Hash struct {
	// variant is argon2id, argon2i or argon2d. New hashes are argon2id.
	variant   string
	cost      Argon2
	salt, sum []byte
}

func newArgon2(password string, a Argon2) string {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails, crypto/rand.Read
	h := argon2Hash{variant: argon2id, cost: a, salt: salt, sum: argon2.IDKey([]byte(password), salt, a.Time, a.Memory, a.Threads, sumLength)}
	return h.encode()
}

func decoyArgon2(a Argon2) hash {
	random := make([]byte, saltLength+sumLength)
	_, _ = rand.Read(random) // never fails, crypto/rand.Read
	return argon2Hash{variant: argon2id, cost: a, salt: random[:saltLength], sum: random[saltLength:]}
}

func (h argon2Hash) encode() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$%s$%s$m=%d,t=%d,p=%d$%s$%s", h.variant, argon2Version, h.cost.Memory, h.cost.Time, h.cost.Threads, b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

// parseArgon2 parses a PHC string with the parameters m, t and p in any order: the PHC format asks for one order, but the npm package
// argon2 and others write another.
func parseArgon2(encoded string) (hash, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[2] != argon2Version {
		return nil, ErrMalformed
	}
	h := argon2Hash{variant: parts[1]}
	ok := h.readCost(parts[3])
	if !ok {
		return nil, ErrMalformed
	}
	if !h.cost.bounded() {
		return nil, ErrTooCostly
	}
	if h.cost.Time == 0 || h.cost.Memory < minMemoryPerThread*uint32(h.cost.Threads) {
		return nil, ErrMalformed
	}
	if h.salt, ok = decode(parts[4], minSalt, maxSalt); !ok {
		return nil, ErrMalformed
	}
	if h.sum, ok = decode(parts[5], minSum, maxSum); !ok {
		return nil, ErrMalformed
	}
	return h, nil
}

// readCost reads each of the three parameters once.
func (h *argon2Hash) readCost(s string) bool {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return false
	}
	seen := map[string]bool{}
	for _, f := range fields {
		name, digits, _ := strings.Cut(f, "=")
		bits := 32
		if name == "p" {
			bits = 8
		}
		n, ok := number(digits, bits)
		if !ok || seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "m":
			h.cost.Memory = uint32(n)
		case "t":
			h.cost.Time = uint32(n)
		case "p":
			h.cost.Threads = uint8(n)
		default:
			return false
		}
	}
	return h.cost.Threads > 0
}

// number parses a decimal without sign or leading zeros.
func number(digits string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil && strconv.FormatUint(n, 10) == digits
}

func decode(s string, least, most int) ([]byte, bool) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips line breaks
		return nil, false
	}
	return b, len(b) >= least && len(b) <= most
}

func (h argon2Hash) memory() uint32 { return h.cost.Memory }

func (h argon2Hash) work(int) time.Duration { return h.cost.work() }

// work is an estimate: a core fills about 1 GiB per second.
func (a Argon2) work() time.Duration {
	return time.Duration(uint64(a.Time) * uint64(a.Memory) * uint64(time.Second) >> 20)
}

func (argon2Hash) takes(string) bool { return true }

func (h argon2Hash) matches(password string) bool {
	derive := argon2.IDKey
	switch h.variant {
	case argon2i:
		derive = argon2.Key
	case argon2d:
		derive = derive2d
	}
	sum := derive([]byte(password), h.salt, h.cost.Time, h.cost.Memory, h.cost.Threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// derive2d computes argon2d, which golang.org/x/crypto does not export.
func derive2d(password, salt []byte, time, memory uint32, threads uint8, length uint32) []byte {
	return cryptargon2.DKey(password, salt, time, memory, uint32(threads), length)
}

// weaker compares each parameter separately: more memory does not compensate for fewer passes.
func (h argon2Hash) weaker(c Config) bool {
	return h.variant != argon2id || c.Algorithm != Argon2id || h.cost.Memory < c.Argon2.Memory || h.cost.Time < c.Argon2.Time ||
		len(h.salt) < saltLength || len(h.sum) < sumLength
}
