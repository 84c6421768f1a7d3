// Package vault is a client of HashiCorp Vault. One Client logs in and keeps its token valid for the whole sidecar. It reads secrets
// of KV version 2 (Secret), keeps accounts that an engine makes for it (Account), and uses other engines by path (Read, Write). It is a leaf: adapters are beside their users, as
// keys/signing/transit does.
//
// The sidecar keeps running in every state of Vault: a failed login is retried with bounded backoff, a revoked token is replaced, and
// the last good value of a secret is used through an outage until it expires (Reading.Expires). State tells the causes of a failure
// apart. Status and the metric postern_vault_state report it.
//
// Secrets are in memory only, in secret.Value. Errors and logs contain no token, no credential and no URL.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/pool"
	"github.com/posterndev/postern/sidecar/span"
)

// Defaults and bounds of a Config.
const (
	DefaultTimeout      = 5 * time.Second
	DefaultPollInterval = 30 * time.Second
	MinPollInterval     = time.Second
	DefaultMaxStale     = 24 * time.Hour
)

// Config configures a Client. Auth and Address are required.
type Config struct {
	// Address is https://host[:port]. http:// is allowed only for a loopback address, such as that of a Vault Agent.
	Address string
	// Namespace is the namespace of Vault Enterprise; empty for the root namespace.
	Namespace string
	// CABundle holds the PEM certificates of the CAs of the server's certificate. It defaults to the system's.
	CABundle []byte
	// Auth is a Kubernetes, AppRole or TokenFile.
	Auth Auth
	// Timeout bounds one request. It defaults to DefaultTimeout.
	Timeout time.Duration
	// PollInterval is the maximum interval between two reads of a secret, and so the delay until a rotation is noticed. It defaults
	// to DefaultPollInterval.
	PollInterval time.Duration
	// MaxStale is how long a secret's value is used after Vault last confirmed it. It defaults to DefaultMaxStale.
	MaxStale time.Duration

	// Now defaults to time.Now. Logger and Metrics may be nil.
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics
}

// Client is a client of one Vault server. It is safe for concurrent use.
type Client struct {
	cfg       Config
	pace      pace
	transport *transport
	health    *health
	session   *session
	stop      context.CancelFunc
	ctx       context.Context // ends with Close
	work      sync.WaitGroup
	documents *pool.Pool[documentKey, *document]
	accounts  *pool.Pool[string, *heldAccount]
}

// New returns a Client that logs in in the background. It fails only for an invalid Config, not if Vault is unavailable or refuses
// the login. The caller calls Close.
func New(cfg Config) (*Client, error) { return newClient(cfg, defaultPace()) }

func newClient(cfg Config, p pace) (*Client, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("setting up Vault: %w", err)
	}
	t, err := newTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("setting up Vault: %w", err)
	}
	c := &Client{cfg: cfg, pace: p, transport: t, documents: pool.New[documentKey, *document](0), accounts: pool.New[string, *heldAccount](0)}
	c.health = newHealth(cfg.Now, cfg.Logger)
	c.session = newSession(cfg, p, t, c.health)
	cfg.Metrics.add(c)
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.work.Go(func() { c.session.run(c.ctx) })
	return c, nil
}

// Close ends all background work, and revokes the accounts, and the token if the login created it. Secrets keep their last value.
func (c *Client) Close() {
	c.stop()
	c.documents.CloseAll()
	c.accounts.CloseAll()
	c.work.Wait()
	c.session.revoke()
	c.transport.http.CloseIdleConnections()
	c.cfg.Metrics.remove(c)
}

func (c Config) checked() (Config, error) {
	if c.Auth == nil {
		return c, errors.New("an auth method is required")
	}
	if err := c.Auth.check(); err != nil {
		return c, err
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.PollInterval == 0 {
		c.PollInterval = DefaultPollInterval
	}
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
	}
	if c.Timeout < 0 || c.MaxStale < 0 || c.PollInterval < MinPollInterval {
		return c, fmt.Errorf("a time limit is negative, or the poll interval is less than %s", MinPollInterval)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = newMetrics()
	}
	return c, nil
}

// minCallerWait is how long a caller must have waited before its deadline marks Vault as unreachable. A login waits for a signature
// for less than Config.Timeout, and the state should not wait for the next poll.
const minCallerWait = time.Second

// call is one request with the current token.
type call func(ctx context.Context, c *api.Client) (*api.Secret, error)

// do sends a request for target. If the current token was revoked, it repeats the request with a new one. Errors are of type *Error,
// or the context's.
func (c *Client) do(ctx context.Context, target string, f call) (_ *api.Secret, failed error) {
	caller := ctx
	ctx, span := span.Start(ctx, "vault")
	defer func() { span.End(failed) }()
	ctx, cancel := context.WithTimeout(ctx, 3*c.cfg.Timeout)
	defer cancel()
	l, err := c.session.current(ctx)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	s, err := f(ctx, l.client)
	if stateOf(err) == PermissionDenied && c.session.doubt(ctx, l) {
		if l, err = c.session.current(ctx); err != nil {
			return nil, err
		}
		s, err = f(ctx, l.client)
	}
	c.cfg.Metrics.seconds.Observe(time.Since(asked).Seconds())
	if gaveUp := caller.Err(); gaveUp != nil && (gaveUp != context.DeadlineExceeded || time.Since(asked) < minCallerWait) {
		return nil, gaveUp // not caused by Vault
	}
	if err != nil {
		failure := newError(target, stateOf(err), err, l.client.Token())
		c.cfg.Metrics.requests.WithLabelValues(string(failure.State)).Inc()
		c.health.failed(target, failure)
		return nil, failure
	}
	c.cfg.Metrics.requests.WithLabelValues(string(OK)).Inc()
	c.health.worked(target)
	return s, nil
}
