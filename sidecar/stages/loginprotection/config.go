// Package loginprotection stops the guessing of passwords on the routes on which an app checks them. It counts failures per account, per
// address and for the whole policy, exactly across replicas, and locks for a time that grows and always ends. It comes last before the
// app, after the stage that logs users in, so that it sees what the app itself says to a password: a session cap is no wrong password.
//
// A refused attempt does not reach the app. Its response is the app's own latest response to a wrong password on that route, so that a
// client cannot tell a locked account from a wrong password; or 429 by choice. While the store is unavailable, OnFailure decides: Deny
// responds with 503, and Allow counts in this process.
package loginprotection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// stageName is the name of this package in decisions.
const stageName = "login-protection"

// Kind is what a route does.
type Kind string

// The kinds of routes.
const (
	Login         Kind = "Login"
	PasswordReset Kind = "PasswordReset"
)

// OnFailure is what happens while the store is unavailable.
type OnFailure string

// The values of OnFailure.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// Config configures the stage.
type Config struct {
	// Scope is the policy's namespace/name. Its hash is in the name of the cookie that marks known devices.
	Scope  string
	Routes []Route
	// PerAccount and PerAddress count failed logins.
	PerAccount, PerAddress Limit
	// Global counts the failures of all accounts and addresses together. It refuses nothing: reaching it is an event.
	Global Limit
	// ResetsPerAccount and ResetsPerAddress count requests for a new password. Their LockFor is 0.
	ResetsPerAccount, ResetsPerAddress Limit
	// KnownDevice counts the failures of a device from which the account logged in before. With Failures 0 no device is known.
	KnownDevice Limit
	// RememberDevice is how long a device is known after its last login.
	RememberDevice time.Duration
	// Challenge is asked for from ChallengeAfter failures on; nil for none.
	Challenge      Challenge
	ChallengeAfter int
	// ChallengeHeader is the request header with the client's token.
	ChallengeHeader    string
	ChallengeOnFailure OnFailure
	// Breached is nil if no list is asked. Each route of kind Login has a Password then.
	Breached *BreachedList
	// PasswordExpired reports whether the password of an account, by its canonical name, has expired; nil if none does.
	PasswordExpired func(ctx context.Context, account string) bool
	// TooManyRequests responds to a refused attempt with 429, in place of the app's response to a wrong password.
	TooManyRequests bool
	OnFailure       OnFailure
	Shadow          bool
	// Store counts, and Local replaces it while it is unavailable.
	Store, Local Store
	// Metrics may be nil.
	Metrics *Metrics
	Logger  *slog.Logger
	// Now defaults to time.Now, Sleep to a wait that ends with the request, and Jitter to a random number below n.
	Now    func() time.Time
	Sleep  Sleep
	Jitter func(n int) int
}

// Challenge verifies that a client solved a challenge; *challenge.Verifier is one. Errors match service.ErrUnavailable or are about the token.
type Challenge interface {
	Verify(ctx context.Context, token string, client netip.Addr) error
}

// Limit is how many failures are allowed within a sliding window, and how long the key is locked then. See Counter.
type Limit struct {
	Failures                 int
	Within, LockFor, MaxLock time.Duration
}

func (l Limit) counter(key string) Counter {
	return Counter{Key: key, Limit: l.Failures, Within: l.Within, LockFor: l.LockFor, MaxLock: max(l.MaxLock, l.LockFor)}
}

func (l Limit) validate(name string) error {
	switch {
	case l.Failures < 1 || l.Failures > check.MaxLoginFailures:
		return fmt.Errorf("%s: failures %d is not between 1 and %d", name, l.Failures, check.MaxLoginFailures)
	case l.Within < time.Second || l.LockFor < 0 || l.MaxLock < 0:
		return fmt.Errorf("%s: within is less than 1s, or a lock is negative", name)
	}
	return nil
}

// Route is a route on which the app checks a password, or sends a new one.
type Route struct {
	Name    string
	Kind    Kind
	Match   *route.Matcher
	Account Account
	// Password is nil if it is not needed.
	Password *Password
	// AnyMethod says that the route does not name its methods. Then only a response to a POST is a login: the page of the login, and the
	// response to a preflight, are on the same path.
	AnyMethod bool
	// FailureStatuses are the statuses of the app's response to a wrong password.
	FailureStatuses []int
	// FailureHeader is a header of the app's response by which a failure is known; the zero value for none.
	FailureHeader HeaderMatch
}

// HeaderMatch matches a header field whose value begins with Prefix.
type HeaderMatch struct{ Name, Prefix string }

// Account says where a request names the account: exactly one of Body, Header and Basic is set.
type Account struct {
	Body   reqbody.Selector
	Header string
	Basic  bool
}

type guard struct {
	cfg    Config
	space  keyspace.Keyspace
	cookie string
	device *devices
	memory *memories
	delays chan struct{}
}

// New returns the stage.
func New(c Config) (stage.Stage, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("building login protection: %w", err)
	}
	space := keyspace.New("login", c.Scope)
	g := &guard{
		cfg: c, space: space, cookie: CookieName(c.Scope), memory: newMemories(len(c.Routes)), delays: make(chan struct{}, maxDelayed),
		device: &devices{store: c.Store, key: space.Key("device-key"), lasts: c.RememberDevice, now: c.Now},
	}
	c.Metrics.start(c.Routes)
	if c.Breached != nil {
		c.Metrics.startBreached(c.Routes)
	}
	return g.stage, nil
}

// complete validates the configuration and sets its defaults.
func (c *Config) complete() error {
	if err := c.validate(); err != nil {
		return err
	}
	if c.Metrics == nil {
		m, err := NewMetrics(prometheus.NewRegistry())
		if err != nil {
			return err
		}
		c.Metrics = m
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Jitter == nil {
		c.Jitter = rand.IntN
	}
	return nil
}

func (c *Config) validate() error {
	if c.Store == nil || c.Local == nil || c.Logger == nil || c.Scope == "" {
		return errors.New("a scope, stores and a logger are required")
	}
	if c.OnFailure != Deny && c.OnFailure != Allow {
		return fmt.Errorf("onFailure %q must be Deny or Allow", c.OnFailure)
	}
	limits := map[string]Limit{"perAccount": c.PerAccount, "perAddress": c.PerAddress, "global": c.Global, "resets.perAccount": c.ResetsPerAccount, "resets.perAddress": c.ResetsPerAddress}
	if c.KnownDevice.Failures > 0 {
		limits["knownDevices"] = c.KnownDevice
	}
	for name, l := range limits {
		if err := l.validate(name); err != nil {
			return err
		}
	}
	for _, r := range c.Routes {
		sources := 0
		for _, given := range []bool{len(r.Account.Body.JSON) > 0 || r.Account.Body.Form != "", r.Account.Header != "", r.Account.Basic} {
			if given {
				sources++
			}
		}
		switch {
		case r.Name == "" || r.Match == nil || sources != 1:
			return fmt.Errorf("route %q: a name, a match and exactly one place of the account are required", r.Name)
		case r.Kind != Login && r.Kind != PasswordReset:
			return fmt.Errorf("route %q: kind %q must be Login or PasswordReset", r.Name, r.Kind)
		case c.Breached != nil && r.Kind == Login && r.Password == nil:
			return fmt.Errorf("route %q: a place of the password is required with a list of breached passwords", r.Name)
		case r.Kind == Login && len(r.FailureStatuses) == 0 && r.FailureHeader.Name == "":
			return fmt.Errorf("route %q: there is no sign of a failure", r.Name)
		}
	}
	return nil
}
