package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/pool"
)

// Account is a user with a password that Vault makes for this client, such as database/creds/<role> of the database engine. The client
// renews its lease, and asks for another account before the lease can no longer be renewed. The old account is revoked after
// some time, so that connections in use can end. It is safe for concurrent use.
type Account struct{ held *heldAccount }

// Account returns the account of path, and keeps it valid in the background until release is called. All users of one path share the
// account. It returns at once, and fails only for an invalid path.
//
// The policy of the client's role needs read on the path. Vault's default policy allows to renew a lease, but not to revoke it: with
// update on sys/leases/revoke, an account that is no longer used ends at once, and not when its lease does.
func (c *Client) Account(path string) (a *Account, release func(), err error) {
	if err := check.VaultSecretPath(path); err != nil {
		return nil, nil, fmt.Errorf("reading an account: %w", err)
	}
	held, release, err := c.accounts.Acquire(path, pool.Direct, func() (*heldAccount, func(), error) { return c.openAccount(path) })
	if errors.Is(err, pool.ErrClosed) {
		return nil, nil, errors.New("reading an account: the Vault client is closed")
	}
	if err != nil {
		return nil, nil, err
	}
	return &Account{held: held}, release, nil
}

// openAccount starts to keep an account; the returned function ends that.
func (c *Client) openAccount(path string) (*heldAccount, func(), error) {
	h := newHeldAccount(c, path)
	ctx, cancel := context.WithCancel(c.ctx)
	c.work.Go(func() { h.run(ctx) })
	return h, func() {
		cancel()
		if c.ctx.Err() == nil { // while the client is closed there is no health to report
			c.health.forget(path)
		}
	}, nil
}

// Credentials returns the present user and password, without a request. They are valid until the given time, and longer if the
// lease is renewed. It waits for the first request to end. Through an outage it returns the last account until its lease
// ends. Errors wrap *Error or ErrExpired.
func (a *Account) Credentials(ctx context.Context) (user string, password secret.Value, valid time.Time, err error) {
	i, err := a.held.current(ctx)
	if err != nil {
		return "", secret.Value{}, time.Time{}, err
	}
	return i.user, i.password, i.expires(a.held.client.cfg), nil
}

// Rejected reports that a server rejected the login of user, for example because somebody revoked its lease. If that is the present
// account, it is renewed at once, or replaced if Vault refuses that.
func (a *Account) Rejected(user string) { a.held.rejected(user) }

// Changes returns a channel that is closed when another account replaces the present one.
func (a *Account) Changes() <-chan struct{} { return a.held.changes() }
