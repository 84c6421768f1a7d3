// Package password hashes and verifies passwords: argon2id (RFC 9106) as PHC strings and bcrypt as its usual strings, with
// a cost that the policy sets and a hint when an older hash should be replaced. It also verifies the hashes that other systems have stored.
//
// Hashing is expensive by design, so it can be used to exhaust a machine. The memory and the number of concurrent hashes are bounded, a
// call that would wait for too long or for too many others fails with ErrBusy, and the cost of a hash to verify is bounded.
package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/posterndev/postern/api/check"
)

// Errors of Hash and Verify. None of them contains a password or a hash.
var (
	// ErrTooLong reports a password that is longer than maxPassword.
	ErrTooLong = errors.New("hashing password: it is too long")
	// ErrTooLongForBcrypt reports a password of more than 72 bytes, of which bcrypt would ignore the rest.
	ErrTooLongForBcrypt = errors.New("hashing password: bcrypt uses 72 bytes, and it is longer")
	// ErrNUL reports a password with NUL bytes. bcrypt repeats the password with a NUL in between, so a shorter password could have
	// the same hash.
	ErrNUL = errors.New("hashing password: bcrypt cannot tell passwords with NUL bytes apart")
	// ErrMalformed reports a hash in no supported format.
	ErrMalformed = errors.New("reading password hash: not a hash of a supported format")
	// ErrTooCostly reports a hash that needs more time or memory than allowed.
	ErrTooCostly = errors.New("reading password hash: its cost is out of bounds")
	// ErrBusy reports that too many calls are waiting. The caller can retry after RetryAfter.
	ErrBusy = errors.New("hashing password: too many in progress")
)

// Bounds of work.
const (
	// maxPassword is the maximum length of a password in bytes. ASVS requires at least 64 characters, of up to four bytes each.
	maxPassword = 4096
	// DefaultMemory is the default of Config.Memory, in KiB: 128 MiB.
	DefaultMemory = 128 << 10
	// waiting is the maximum number of waiting calls per running one.
	waiting = 16
)

// Algorithm is the algorithm of new hashes.
type Algorithm string

// The algorithms.
const (
	Argon2id Algorithm = "argon2id"
	Bcrypt   Algorithm = "bcrypt"
)

// Config configures a Hasher: the cost of new hashes and the limits of hashing.
type Config struct {
	// Algorithm defaults to Argon2id.
	Algorithm Algorithm
	// Argon2 is the cost of argon2id. It defaults to DefaultArgon2.
	Argon2 Argon2
	// BcryptCost is between 10 and 15. It defaults to 12.
	BcryptCost int
	// Memory bounds the memory of all concurrent hashes, in KiB. It defaults to DefaultMemory.
	Memory uint32
	// Parallel bounds the number of concurrent hashes. It defaults to GOMAXPROCS.
	Parallel int
	// Wait bounds the estimated time that a call waits for others. It defaults to DefaultWait.
	Wait time.Duration
	// TruncateBcrypt verifies passwords of more than 72 bytes with a bcrypt hash by their first 72 bytes, as the software did that
	// made the hash. Any password with the same first 72 bytes then matches. New hashes are not affected.
	TruncateBcrypt bool
	// Now defaults to time.Now.
	Now func() time.Time
}

// Result is the result of Verify.
type Result struct {
	Match bool
	// Rehash says that the password matches, but its hash is weaker than the policy. The caller should store a new one.
	Rehash bool
}

// Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	cfg Config
	// gate admits Config.Memory. Each hash takes the memory it needs, but at least Memory/Parallel.
	gate    *semaphore.Weighted
	least   int64
	queued  atomic.Int64
	longest int64
	backlog backlog
	// decoy is the hash to verify against if the account does not exist.
	decoy hash
}

// hash is a parsed hash.
type hash interface {
	computation
	// weaker reports whether the policy requires more.
	weaker(c Config) bool
}

// computation compares passwords with a hash.
type computation interface {
	// memory returns the memory that computing it needs, in KiB, and work the estimated time of a core for a password of a length in bytes.
	memory() uint32
	work(length int) time.Duration
	// takes reports whether the algorithm uses the whole password.
	takes(password string) bool
	// matches computes the hash of password and compares it in constant time.
	matches(password string) bool
}

// New returns a Hasher. Its error says which setting to change.
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
	if c.Wait == 0 {
		c.Wait = DefaultWait
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("building password hasher: %w", err)
	}
	h := &Hasher{
		cfg: c, gate: semaphore.NewWeighted(int64(c.Memory)), least: int64(c.Memory) / int64(c.Parallel),
		longest: int64(c.Parallel) * waiting, decoy: decoyBcrypt(c.BcryptCost), backlog: newBacklog(c.Wait),
	}
	if c.Algorithm == Argon2id {
		h.decoy = decoyArgon2(c.Argon2)
		h.longest = int64(min(uint32(c.Parallel), c.Memory/c.Argon2.Memory)) * waiting // the memory may allow fewer
	}
	return h, nil
}

func (c Config) check() error {
	switch {
	case c.Algorithm != Argon2id && c.Algorithm != Bcrypt:
		return fmt.Errorf("algorithm %.20q must be argon2id or bcrypt", c.Algorithm)
	case check.BcryptCost(c.BcryptCost) != nil:
		return fmt.Errorf("bcrypt: %w", check.BcryptCost(c.BcryptCost))
	case c.Parallel < 1 || c.Parallel > 1024:
		return fmt.Errorf("parallel %d must be between 1 and 1024", c.Parallel)
	case c.Wait < 0:
		return fmt.Errorf("wait %s is negative", c.Wait)
	case c.Memory < c.Argon2.Memory:
		return fmt.Errorf("memory of %d KiB is less than one hash needs, %d KiB", c.Memory, c.Argon2.Memory)
	}
	return c.Argon2.check()
}

// Hash returns the hash of password as a string to store. It waits for its turn until ctx ends. Errors match ErrTooLong,
// ErrTooLongForBcrypt, ErrNUL or ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password string) (encoded string, err error) {
	if err := h.checkPassword(password); err != nil {
		return "", err
	}
	memory, work := h.cfg.Argon2.Memory, h.cfg.Argon2.work()
	if h.cfg.Algorithm == Bcrypt {
		memory, work = 0, bcryptWork(h.cfg.BcryptCost)
	}
	release, err := h.enter(ctx, memory, work)
	if err != nil {
		return "", err
	}
	defer release()
	if h.cfg.Algorithm == Bcrypt {
		return newBcrypt(password, h.cfg.BcryptCost)
	}
	return newArgon2(password, h.cfg.Argon2), nil
}

// Verify compares password with the hash encoded. It takes the same time for a wrong and for a correct password. An empty encoded means
// that the account does not exist: Verify then takes the time of a hash with the policy's cost and does not match, so that the time
// does not reveal which accounts exist. A password longer than maxPassword does not match. A longer one than bcrypt uses fails with
// ErrTooLongForBcrypt, after the same time, unless TruncateBcrypt is set. Errors match ErrTooLongForBcrypt, ErrMalformed, ErrTooCostly or
// ErrBusy.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (Result, error) {
	return h.verify(ctx, password, encoded, h.backlog.longest)
}

// VerifySpare is Verify, but leaves room for others: it fails with ErrBusy if it would wait for more than half of Config.Wait.
func (h *Hasher) VerifySpare(ctx context.Context, password, encoded string) (Result, error) {
	return h.verify(ctx, password, encoded, h.backlog.longest/2)
}

func (h *Hasher) verify(ctx context.Context, password, encoded string, longest time.Duration) (Result, error) {
	parsed, exists := h.decoy, encoded != ""
	if exists {
		var err error
		if parsed, err = parse(encoded, h.cfg.Memory); err != nil {
			return Result{}, err
		}
	}
	if len(password) > maxPassword {
		return Result{}, nil
	}
	release, err := h.enterFor(ctx, longest, parsed.memory(), parsed.work(len(password)))
	if err != nil {
		return Result{}, err
	}
	defer release()
	whole := parsed.takes(password)
	if !whole && h.cfg.TruncateBcrypt {
		password = password[:maxBcrypt]
	}
	match := parsed.matches(password) && exists
	if !whole && !h.cfg.TruncateBcrypt {
		return Result{}, ErrTooLongForBcrypt
	}
	return Result{Match: match, Rehash: match && parsed.weaker(h.cfg)}, nil
}

// Backlog returns the estimated time until the hashes in progress are computed.
func (h *Hasher) Backlog() time.Duration { return h.backlog.wait() }

func (h *Hasher) checkPassword(password string) error {
	switch {
	case len(password) > maxPassword:
		return ErrTooLong
	case h.cfg.Algorithm == Bcrypt && len(password) > maxBcrypt:
		return ErrTooLongForBcrypt
	case h.cfg.Algorithm == Bcrypt && strings.IndexByte(password, 0) >= 0:
		return ErrNUL
	}
	return nil
}

// enter waits until memory is available. It fails at once if that would take longer than Config.Wait.
func (h *Hasher) enter(ctx context.Context, memory uint32, work time.Duration) (release func(), err error) {
	return h.enterFor(ctx, h.backlog.longest, memory, work)
}

// enterFor is enter with another bound than Config.Wait.
func (h *Hasher) enterFor(ctx context.Context, longest time.Duration, memory uint32, work time.Duration) (release func(), err error) {
	if h.queued.Add(1) > h.longest {
		h.queued.Add(-1)
		return nil, &busyError{after: h.backlog.wait()}
	}
	weight := max(int64(memory), h.least)
	share := time.Duration(float64(work) * float64(weight) / float64(h.cfg.Memory))
	if err := h.backlog.add(share, longest); err != nil {
		h.queued.Add(-1)
		return nil, err
	}
	if err := h.gate.Acquire(ctx, weight); err != nil {
		h.backlog.remove(share)
		h.queued.Add(-1)
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	began := h.cfg.Now()
	return func() {
		h.gate.Release(weight)
		h.backlog.done(share, work, h.cfg.Now().Sub(began))
		h.queued.Add(-1)
	}, nil
}
