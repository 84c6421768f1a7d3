package passwordpolicy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// Reused is the rule about an account's last passwords.
const Reused passwordrules.Code = "reused"

// Bounds of the history.
const (
	// JudgedLimit is how many new passwords of one account are compared with the old ones within JudgedWithin. Each comparison takes as
	// long as a login for each old password, and tells a caller with a token of the account about its old passwords.
	JudgedLimit  = 10
	JudgedWithin = time.Hour
	// keptLonger is how long the history is kept after maxAge, so that an expired password is known to be one.
	keptLonger = 731 * 24 * time.Hour
	// rememberTime bounds how long the response to an accepted password waits until it is remembered.
	rememberTime = 10 * time.Second
)

// Store keeps the hashes of old passwords and the dates of changes. There are two implementations: passwordpolicyredis, shared by all
// replicas, and passwordpolicymemory, for one process.
type Store interface {
	// Old counts a comparison, and returns the hashes of a key, the latest first. If JudgedLimit is used up, it returns none, and the time
	// after which a comparison is possible. Nothing is counted for a key without hashes.
	Old(ctx context.Context, key string) (hashes []string, wait time.Duration, err error)
	// Add keeps the time of the change, and before the hashes of a key one more, of which it keeps the first keep ones. With keep 0 it keeps
	// only the time. The key expires after ttl.
	Add(ctx context.Context, key, hash string, keep int, ttl time.Duration) error
	// Look returns what is kept of a key, and changes nothing.
	Look(ctx context.Context, key string) (Kept, error)
	// Delete deletes what is kept of a key, and reports whether there was something.
	Delete(ctx context.Context, key string) (bool, error)
	// Changed returns the time of the last Add; the zero time if it is not known.
	Changed(ctx context.Context, key string) (time.Time, error)
}

// Kept is what is kept of an account.
type Kept struct {
	// Hashes is the number of passwords, and Changed the time of the last change; zero if it is not known.
	Hashes  int
	Changed time.Time
}

// Hasher hashes and compares passwords; *password.Hasher is one, for argon2id.
type Hasher interface {
	Hash(ctx context.Context, password string) (encoded string, err error)
	Verify(ctx context.Context, password, encoded string) (password.Result, error)
}

// HistoryConfig configures a History.
type HistoryConfig struct {
	// Scope is the policy's namespace/name.
	Scope string
	// Remember is how many passwords of an account are kept; 0 for none.
	Remember int
	// MaxAge is the age at which a password has expired; 0 for never.
	MaxAge time.Duration
	// AccountClaim is the claim of a caller's token that names the account.
	AccountClaim string
	// Allow judges by the other rules while the store is unavailable or too many passwords are being hashed. Otherwise the password is
	// refused with 503.
	Allow  bool
	Store  Store
	Hasher Hasher
	// AppHasher compares passwords with the hashes that the app keeps.
	AppHasher Hasher
	// Canonical returns the form of an account's name under which login protection counts.
	Canonical func(string) string
	Logger    *slog.Logger
	// Now defaults to time.Now, and Sleep to a wait that ends with ctx.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration)
}

// History knows the last passwords of accounts, as hashes, and when they were changed.
type History struct {
	HistoryConfig
	space keyspace.Keyspace
}

// NewHistory returns a History.
func NewHistory(c HistoryConfig) (*History, error) {
	if c.Scope == "" || c.AccountClaim == "" || c.Store == nil || c.Hasher == nil || c.AppHasher == nil || c.Canonical == nil || c.Logger == nil || c.Remember < 0 {
		return nil, errors.New("building password history: a scope, a claim, a store, hashers, a canonical form and a logger are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	return &History{HistoryConfig: c, space: keyspace.New("login", c.Scope)}, nil // the room in which login protection counts
}

// key returns the key of an account by its canonical name.
func (h *History) key(account string) string {
	return h.space.Key("password", h.space.Hash("account", account))
}

// Expired reports whether the password of an account, by its canonical name, is older than MaxAge. It is false if its date is not known.
func (h *History) Expired(ctx context.Context, account string) bool {
	if h == nil || h.MaxAge == 0 || account == "" {
		return false
	}
	changed, err := h.Store.Changed(ctx, h.key(account))
	if err != nil {
		h.Logger.WarnContext(ctx, "the age of a password is not known", "error", err)
		return false
	}
	return !changed.IsZero() && h.Now().Sub(changed) >= h.MaxAge
}

// Look returns how many passwords of an account are remembered, by any spelling of its name, and the time of the last change; zero if it is not
// known.
func (h *History) Look(ctx context.Context, account string) (remembered int, changed time.Time, err error) {
	kept, err := h.Store.Look(ctx, h.key(h.Canonical(account)))
	return kept.Hashes, kept.Changed, err
}

// Forget deletes what is kept of an account, by any spelling of its name, and reports whether there was something.
func (h *History) Forget(ctx context.Context, account string) (bool, error) {
	return h.Store.Delete(ctx, h.key(h.Canonical(account)))
}
