package loginprotection

import (
	"context"
	"fmt"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// Locks clears what is counted against accounts of a policy.
type Locks struct {
	cfg    Config
	shared bool
	space  keyspace.Keyspace
}

// NewLocks returns the locks of the stage with the same configuration. shared says that its Store is shared by all pods.
func NewLocks(c Config, shared bool) (*Locks, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("building login locks: %w", err)
	}
	return &Locks{cfg: c, shared: shared, space: keyspace.New("login", c.Scope)}, nil
}

// Clear forgets the failures and locks of an account, and its requests for a new password. Attempts in progress, addresses and known devices
// count on. The result is the same whether the account is locked, open or unknown: it reports whether this holds for all pods. The error is
// an *httperr.Error for an empty name, or that of the store: then it may hold in this process only.
func (l *Locks) Clear(ctx context.Context, account string) (shared bool, err error) {
	counters, hash, err := l.counters(account)
	if err != nil {
		return false, err
	}
	for _, s := range []Store{l.cfg.Local, l.cfg.Store} {
		if _, err := s.End(ctx, counters, []Outcome{Forget, Forget}); err != nil {
			l.cfg.Metrics.unlocks.WithLabelValues("unavailable").Inc()
			return false, fmt.Errorf("clearing login locks: %w", err)
		}
	}
	l.cfg.Metrics.unlocks.WithLabelValues("cleared").Inc()
	l.cfg.Logger.InfoContext(ctx, "login locks of an account cleared", "accountHash", hash, "shared", l.shared) // the hash that keys of the store have
	return l.shared, nil
}

// counters returns the counters of an account, of logins and of resets, and its hash.
func (l *Locks) counters(account string) (counters []Counter, hash string, err error) {
	name := Canonical(account)
	if name == "" {
		return nil, "", &httperr.Error{Status: http.StatusUnprocessableEntity, Code: "invalid-request", Detail: "The account is empty."}
	}
	hash = l.space.Hash("account", name)
	return []Counter{
		l.cfg.PerAccount.counter(accountKey(l.space, Login, hash)),
		l.cfg.ResetsPerAccount.counter(accountKey(l.space, PasswordReset, hash)),
	}, hash, nil
}

// Look returns what is counted against an account: its logins, and its requests for a new password. Errors are those of Clear.
func (l *Locks) Look(ctx context.Context, account string) (logins, resets State, err error) {
	counters, _, err := l.counters(account)
	if err != nil {
		return State{}, State{}, err
	}
	states, err := l.cfg.Store.Look(ctx, counters)
	if err != nil {
		return State{}, State{}, fmt.Errorf("reading login failures: %w", err)
	}
	return states[0], states[1], nil
}
