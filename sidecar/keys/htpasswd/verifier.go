package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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
}

// sum identifies a pair of a name and a password, together with the hash, so that a changed hash is never answered from the cache.
type sum = [sha256.Size]byte

// Verifier verifies users. It remembers for five minutes which passwords were correct, by a hash under a key that exists only in this
// process. It is safe for concurrent use.
type Verifier struct {
	hasher Hasher
	now    func() time.Time
	key    [sha256.Size]byte
	known  *lru.Cache[sum, time.Time]
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
	v := &Verifier{hasher: hasher, now: now, known: known}
	_, _ = rand.Read(v.key[:]) // never fails, crypto/rand.Read
	return v, nil
}

// Verify reports whether file has a user with this name and password. An unknown name takes as long as a wrong password. A password of
// more than 72 bytes is wrong, because bcrypt ignores the rest. Errors match password.ErrBusy.
func (v *Verifier) Verify(ctx context.Context, file *File, name, secret string) (bool, error) {
	hash, exists := file.hashes[name]
	if !exists {
		hash = file.decoy
	}
	id := v.sum(name, hash, secret)
	if until, ok := v.known.Get(id); ok && exists && v.now().Before(until) {
		return true, nil
	}
	got, err := v.hasher.Verify(ctx, secret, hash)
	switch {
	case errors.Is(err, password.ErrTooLongForBcrypt):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("verifying user: %w", err)
	}
	if !got.Match || !exists {
		return false, nil
	}
	v.known.Add(id, v.now().Add(cacheFor))
	return true, nil
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
