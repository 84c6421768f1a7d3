// Package password hashes and verifies passwords: argon2id (RFC 9106) as PHC strings and bcrypt as its usual strings, with
// a cost that the policy sets and a hint when an older hash should be replaced.
//
// Hashing is expensive on purpose, so it is also a way to exhaust a machine: the memory and the number of hashes under way
// are bounded, who would have to wait for too many others is refused with ErrBusy, and a hash that a caller hands in may
// not ask for more than fixed bounds.
package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/posterndev/postern/api/check"
)

// Errors of Hash and Verify; none of them holds a password or a hash.
var (
	// ErrTooLong: the password is longer than the algorithm reads (72 bytes for bcrypt, maxPassword otherwise).
	ErrTooLong = errors.New("hashing password: it is too long for the algorithm")
	// ErrNUL: bcrypt repeats the password with a NUL between, so one with NUL bytes has the hash of a shorter one.
	ErrNUL = errors.New("hashing password: bcrypt cannot tell passwords with NUL bytes apart")
	// ErrMalformed: the hash is not one of a known algorithm.
	ErrMalformed = errors.New("reading password hash: not a bcrypt or argon2id hash")
	// ErrTooCostly: the hash asks for more time or memory than is granted to anybody.
	ErrTooCostly = errors.New("reading password hash: its cost is beyond the bounds")
	// ErrBusy: too many others wait. The caller may try again.
	ErrBusy = errors.New("hashing password: too many are under way")
)

// Bounds of work.
const (
	// maxPassword is the longest password in bytes; ASVS asks for at least 64 characters, of up to four bytes each.
	maxPassword = 4096
	// DefaultMemory is Config.Memory's default, in KiB: 128 MiB.
	DefaultMemory = 128 << 10
	// waiting bounds the callers that wait for each one that is served.
	waiting = 16
)

// Algorithm is how new hashes are made.
type Algorithm string

// The algorithms.
const (
	Argon2id Algorithm = "argon2id"
	Bcrypt   Algorithm = "bcrypt"
)

// Config is the policy for new hashes, and what hashing may take.
type Config struct {
	// Algorithm is Argon2id where empty.
	Algorithm Algorithm
	// Argon2 is the cost of argon2id; the zero value is DefaultArgon2.
	Argon2 Argon2
	// BcryptCost is 12 where zero, and between 10 and 15.
	BcryptCost int
	// Memory bounds the memory of all hashes under way, in KiB; DefaultMemory where zero.
	Memory uint32
	// Parallel bounds the hashes under way; GOMAXPROCS where zero.
	Parallel int
}

// Result is what Verify finds.
type Result struct {
	Match bool
	// Rehash says that the password matches and its hash is weaker than the policy: store a new one.
	Rehash bool
}

// Hasher hashes and verifies. It is safe for concurrent use.
type Hasher struct {
	cfg Config
	// gate has room for Config.Memory; each hash takes what it needs, and no less than its part of Parallel.
	gate    *semaphore.Weighted
	least   int64
	queued  atomic.Int64
	longest int64
	// nobody is verified against where there is no account.
	nobody hash
}

// hash is a parsed hash.
type hash interface {
	// memory is what computing it takes, in KiB.
	memory() uint32
	// matches computes the hash of password and compares it in constant time.
	matches(password string) bool
	// weaker reports whether the policy asks for more.
	weaker(c Config) bool
}

// New returns a Hasher, or an error that says which setting to change.
func New(c Config) (*Hasher, error) {
	if c.Algorithm == "" {
		c.Algorithm = Argon2id
	}
	if c.Argon2 == (Argon2{}) {
		c.Argon2 = DefaultArgon2()
	}
	if c.BcryptCost == 0 {
		c.BcryptCost = 12
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.Parallel == 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("checking password policy: %w", err)
	}
	h := &Hasher{
		cfg: c, gate: semaphore.NewWeighted(int64(c.Memory)), least: int64(c.Memory) / int64(c.Parallel),
		longest: int64(c.Parallel) * waiting, nobody: nobodyBcrypt(c.BcryptCost),
	}
	if c.Algorithm == Argon2id {
		h.nobody = nobodyArgon2(c.Argon2)
		h.longest = int64(min(uint32(c.Parallel), c.Memory/c.Argon2.Memory)) * waiting // memory may have room for fewer
	}
	return h, nil
}

func (c Config) check() error {
	switch {
	case c.Algorithm != Argon2id && c.Algorithm != Bcrypt:
		return fmt.Errorf("algorithm %.20q is neither argon2id nor bcrypt", c.Algorithm)
	case check.BcryptCost(c.BcryptCost) != nil:
		return fmt.Errorf("bcrypt: %w", check.BcryptCost(c.BcryptCost))
	case c.Parallel < 1 || c.Parallel > 1024:
		return fmt.Errorf("parallel %d is not between 1 and 1024", c.Parallel)
	case c.Memory < c.Argon2.Memory:
		return fmt.Errorf("memory of %d KiB is less than one hash takes, %d KiB", c.Memory, c.Argon2.Memory)
	}
	return c.Argon2.check()
}

// Hash returns the string to store. It waits for its turn until ctx ends, and returns ErrTooLong, ErrNUL or ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password string) (encoded string, err error) {
	if err := h.checkPassword(password); err != nil {
		return "", err
	}
	memory := h.cfg.Argon2.Memory
	if h.cfg.Algorithm == Bcrypt {
		memory = 0
	}
	release, err := h.enter(ctx, memory)
	if err != nil {
		return "", err
	}
	defer release()
	if h.cfg.Algorithm == Bcrypt {
		return newBcrypt(password, h.cfg.BcryptCost)
	}
	return newArgon2(password, h.cfg.Argon2), nil
}

// Verify compares password with encoded, and takes as long for a wrong password as for the right one. An empty encoded
// says that the account does not exist: it takes as long as a hash by the policy and does not match, so that the time does
// not tell who has an account. It returns ErrMalformed, ErrTooCostly or ErrBusy; a password too long to be one of ours
// does not match.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (Result, error) {
	parsed, exists := h.nobody, encoded != ""
	if exists {
		var err error
		if parsed, err = h.parse(encoded); err != nil {
			return Result{}, err
		}
	}
	if len(password) > maxPassword {
		return Result{}, nil
	}
	release, err := h.enter(ctx, parsed.memory())
	if err != nil {
		return Result{}, err
	}
	defer release()
	match := parsed.matches(password) && exists
	return Result{Match: match, Rehash: match && parsed.weaker(h.cfg)}, nil
}

func (h *Hasher) parse(encoded string) (hash, error) {
	if strings.HasPrefix(encoded, argon2Prefix) {
		return parseArgon2(encoded, h.cfg.Memory)
	}
	return parseBcrypt(encoded)
}

func (h *Hasher) checkPassword(password string) error {
	switch {
	case len(password) > maxPassword, h.cfg.Algorithm == Bcrypt && len(password) > maxBcrypt:
		return ErrTooLong
	case h.cfg.Algorithm == Bcrypt && strings.IndexByte(password, 0) >= 0:
		return ErrNUL
	}
	return nil
}

// enter waits for the memory and a turn.
func (h *Hasher) enter(ctx context.Context, memory uint32) (release func(), err error) {
	if h.queued.Add(1) > h.longest {
		h.queued.Add(-1)
		return nil, ErrBusy
	}
	weight := max(int64(memory), h.least)
	if err := h.gate.Acquire(ctx, weight); err != nil {
		h.queued.Add(-1)
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return func() {
		h.gate.Release(weight)
		h.queued.Add(-1)
	}, nil
}
