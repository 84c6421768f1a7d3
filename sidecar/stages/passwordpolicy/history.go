package passwordpolicy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// Reused is the rule about an account's last passwords.
const Reused passwordrules.Code = "reused"

// Bounds of the history.
const (
	// JudgedLimit is how many new passwords of one account are compared with the old ones within JudgedWithin. Each comparison takes as
	// long as a login for each old password, and tells whoever has a token of the account about its old passwords.
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
	// Changed returns the time of the last Add; the zero time if it is not known.
	Changed(ctx context.Context, key string) (time.Time, error)
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

// change is a new password of an account that may be accepted.
type change struct {
	password string
	// field is the name of the password's field.
	field string
	// account is canonical; "" if it is not known whose password it is.
	account string
	// own says that the caller's token is the account's.
	own bool
}

func (c *change) same(other *change) bool {
	return c.account == other.account && c.password == other.password
}

// changeOf returns the change that a request asks for, or nil. An anonymous request changes the password of the account in its body, if
// the app accepts it. With a token the account must be that of the token: an app may ignore the field, and the caller could write any.
func (h *History) changeOf(f fields, who *identity.Identity) *change {
	if h == nil || f.password == "" {
		return nil
	}
	c := &change{password: canonicalPassword(f.password), field: f.passwordName, account: h.Canonical(f.account)}
	if who == nil {
		return c
	}
	name, _ := who.Claim(h.AccountClaim)
	text, _ := name.(string)
	own := h.Canonical(text)
	c.own = own != "" && (c.account == "" || c.account == own)
	if c.account = own; !c.own {
		c.account = ""
	}
	return c
}

// canonicalPassword returns the form in which passwords are compared. One that is too long for a hash has a digest.
func canonicalPassword(text string) string {
	text = norm.NFKC.String(text)
	if len(text) <= passwordrules.MaxBytes {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// reused reports whether a password is one of the account's last ones. Only the caller who has a token of the account learns it.
func (p *Policy) reused(ctx context.Context, c *change, record recorder) error {
	h := p.History
	if h.Remember == 0 || !c.own {
		return nil
	}
	old, wait, err := h.Store.Old(ctx, h.key(c.account))
	if err == nil && wait > 0 {
		e := &httperr.Error{Status: http.StatusTooManyRequests, Code: "too-many-passwords", Detail: "Too many new passwords were tried. Try again later."}
		return p.enforce(Reused, e.With("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second))), record)
	}
	match := false
	if err == nil {
		match, err = h.matches(ctx, c.password, old[:min(len(old), h.Remember)])
	}
	switch {
	case match:
		return p.verdict([]httperr.FieldError{reusedIn(c.field)}, nil, record)
	case err != nil:
		return p.historyUnavailable(err, record)
	}
	return nil
}

// matches compares a password with hashes until one matches. Hashes that the policy's memory no longer suffices for are left out, because
// their owner could never change the password again.
func (h *History) matches(ctx context.Context, text string, hashes []string) (bool, error) {
	for _, encoded := range hashes {
		result, err := h.Hasher.Verify(ctx, text, encoded)
		switch {
		case errors.Is(err, password.ErrTooCostly), errors.Is(err, password.ErrMalformed):
			h.Logger.WarnContext(ctx, "the hash of an old password is not compared", "error", err)
		case err != nil:
			return false, err
		case result.Match:
			return true, nil
		}
	}
	return false, nil
}

func reusedIn(field string) httperr.FieldError {
	return httperr.FieldError{Field: field, Code: string(Reused), Detail: "The password was used before. Choose another one."}
}

func (p *Policy) historyUnavailable(err error, record recorder) error {
	retry := 5 * time.Second
	if errors.Is(err, password.ErrBusy) {
		retry = password.RetryAfter(err)
	}
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "password-check-unavailable", Detail: "The password cannot be checked now. Try again.", Cause: err}
	e = e.With("Retry-After", strconv.Itoa(int(retry/time.Second)))
	rule := p.rule(Reused)
	rule.Shadow = rule.Shadow || p.History.Allow // recorded, so that the metrics show it
	if record(rule, e) {
		return e
	}
	return nil
}

// enforce records a refusal, and returns it if it is enforced.
func (p *Policy) enforce(code passwordrules.Code, e *httperr.Error, record recorder) error {
	if record(p.rule(code), e) {
		return e
	}
	return nil
}

// remember keeps the passwords that the app accepted. The response waits for it, so that the next request finds them at any replica. The
// app has changed the password already: if it cannot be kept, this is only logged.
func (h *History) remember(r *http.Request, changes []*change) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), rememberTime)
	defer cancel()
	for _, c := range changes {
		if err := h.add(ctx, c); err != nil {
			h.Logger.WarnContext(ctx, "an accepted password is not remembered", "requestID", request.From(r).RequestID, "error", err)
		}
	}
}

func (h *History) add(ctx context.Context, c *change) error {
	hash, err := "", error(nil)
	if h.Remember > 0 {
		hash, err = h.hash(ctx, c.password)
	}
	if err != nil {
		return err
	}
	return h.Store.Add(ctx, h.key(c.account), hash, h.Remember, h.MaxAge+keptLonger)
}

// hash waits while too many passwords are being hashed, until ctx ends.
func (h *History) hash(ctx context.Context, text string) (string, error) {
	for {
		encoded, err := h.Hasher.Hash(ctx, text)
		if !errors.Is(err, password.ErrBusy) || ctx.Err() != nil {
			return encoded, err
		}
		h.Sleep(ctx, password.RetryAfter(err))
		if ctx.Err() != nil {
			return "", err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
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

// CheckPrevious judges a password that the loopback API is asked to hash by the hashes of the account's former passwords, the latest
// first. It returns nil, the refusal, or an error of password.Hasher, which shadow mode ignores. Without Remember it ignores them.
func (p *Policy) CheckPrevious(ctx context.Context, text string, previous []string) error {
	if p.History == nil {
		return nil
	}
	for _, encoded := range previous[:min(len(previous), p.History.Remember)] {
		result, err := p.compare(ctx, text, encoded)
		switch {
		case errors.Is(err, password.ErrTooLongForBcrypt): // no password of bcrypt's is as long
		case err != nil && (p.PolicyShadow || p.rule(Reused).Shadow):
			p.History.Logger.WarnContext(ctx, "the hash of a former password is not compared", "error", err)
		case err != nil:
			return err
		case result.Match:
			return p.verdict([]httperr.FieldError{reusedIn("password")}, nil, p.recordOutside(ctx))
		}
	}
	return nil
}

// compare compares a password with a hash of the app's.
func (p *Policy) compare(ctx context.Context, text, encoded string) (password.Result, error) {
	if encoded == "" { // Verify would compute the hash of no account
		return password.Result{}, password.ErrMalformed
	}
	return p.History.AppHasher.Verify(ctx, text, encoded)
}
