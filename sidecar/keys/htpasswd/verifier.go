package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// Bounds of the cache. Basic authentication sends the password with each request, and bcrypt takes a tenth of a second of a core.
const (
	cacheSize = 4096
	cacheFor  = 5 * time.Minute
)

// Hasher compares a password with a hash; *password.Hasher is one.
type Hasher interface {
	Verify(ctx context.Context, password, encoded string) (password.Result, error)
	// VerifySpare is Verify, but fails with password.ErrBusy if that would leave too little room for others.
	VerifySpare(ctx context.Context, password, encoded string) (password.Result, error)
}

// Attempt is a name and a password as they were sent, and the network that counts as the client.
type Attempt struct {
	Name, Secret string
	Client       netip.Prefix
}

// sum identifies a pair of a name and a password, together with the hash, so that a changed hash is never answered from the cache.
type sum = [sha256.Size]byte

// Verifier verifies users. It remembers for five minutes which passwords were correct, by a hash under a key that exists only in this
// process. Equal attempts at the same time need one hash, and one client cannot occupy the hasher. It is safe for concurrent use.
type Verifier struct {
	hasher  Hasher
	now     func() time.Time
	key     [sha256.Size]byte
	known   *lru.Cache[sum, time.Time]
	flights flights
}

// NewVerifier returns a Verifier. A nil now means time.Now.
func NewVerifier(hasher Hasher, now func() time.Time) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	known, err := lru.New[sum, time.Time](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("creating cache of users: %w", err)
	}
	v := &Verifier{hasher: hasher, now: now, known: known, flights: newFlights()}
	_, _ = rand.Read(v.key[:]) // never fails, crypto/rand.Read
	return v, nil
}

// Verify returns the user's name as the file has it if the password is correct, and else "". An unknown name takes as long as a wrong
// password. A password of more than 72 bytes is wrong, because bcrypt ignores the rest. Errors match password.ErrBusy.
func (v *Verifier) Verify(ctx context.Context, file *File, a Attempt) (string, error) {
	name, secret := prepare(a.Name), prepare(a.Secret)
	hash, exists := file.hashes[name]
	if !exists {
		hash = file.decoy
	}
	id := v.sum(name, hash, secret)
	if until, ok := v.known.Get(id); ok && exists && v.now().Before(until) {
		return name, nil
	}
	match, err := v.flights.do(ctx, id, a.Client, func(first bool) (bool, error) {
		if first {
			return compared(v.hasher.Verify(ctx, secret, hash))
		}
		return compared(v.hasher.VerifySpare(ctx, secret, hash))
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("verifying user: %w", err)
	case !match || !exists:
		return "", nil
	}
	v.known.Add(id, v.now().Add(cacheFor))
	return name, nil
}

func compared(got password.Result, err error) (bool, error) {
	if errors.Is(err, password.ErrTooLongForBcrypt) {
		return false, nil
	}
	return got.Match, err
}

func (v *Verifier) sum(parts ...string) (s sum) {
	mac := hmac.New(sha256.New, v.key[:])
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		mac.Write(length[:])
		mac.Write([]byte(p))
	}
	mac.Sum(s[:0])
	return s
}
