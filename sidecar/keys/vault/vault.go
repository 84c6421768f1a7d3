// Package vault is the sidecar's client of HashiCorp Vault: one Client logs in, keeps its token alive and is shared by all
// who read secrets (KV version 2) or sign (Transit) in one sidecar.
//
// Whatever Vault does, the sidecar runs on: a login that fails is tried again with bounded backoff, a token that was revoked
// is replaced, and a secret's last good value is used through an outage, until it expires (Reading.Expires). What is wrong
// is told apart by State, which Status and the metric postern_vault_state give.
//
// Secrets are in memory alone, in secret.Value. Errors and logs carry no token, no credential and no URL.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/resources/pool"
)

// Defaults and bounds of a Config.
const (
	DefaultTimeout      = 5 * time.Second
	DefaultPollInterval = 30 * time.Second
	MinPollInterval     = time.Second
	DefaultMaxStale     = 24 * time.Hour
)

// Config says where Vault is, how to log in, and how secrets are kept. Auth and Address are required.
type Config struct {
	// Address is https://host[:port]; http:// is for a loopback address alone, as that of a Vault Agent.
	Address string
	// Namespace of Vault Enterprise; empty for the root one.
	Namespace string
	// CABundle holds PEM certificates that the server's must be signed by; empty for the system's.
	CABundle []byte
	// Auth is a Kubernetes, an AppRole or a TokenFile.
	Auth Auth
	// Timeout bounds one request; zero is DefaultTimeout.
	Timeout time.Duration
	// PollInterval lies between two looks at a secret, give or take a tenth: within it a rotation is noticed. Zero is
	// DefaultPollInterval.
	PollInterval time.Duration
	// MaxStale is how long a secret's value outlives Vault's last confirmation of it; zero is DefaultMaxStale.
	MaxStale time.Duration

	// Now is time.Now where nil, Logger discards where nil, and nil Metrics show nothing.
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics
}

// Client is a logged-in user of one Vault server. It is safe for concurrent use.
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
}

// New returns a Client that logs in in the background: that Vault is away, or refuses, is no error here. A Config that can
// never work is one. The caller calls Close.
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
	c := &Client{cfg: cfg, pace: p, transport: t, documents: pool.New[documentKey, *document](0)}
	c.health = newHealth(cfg.Now, cfg.Logger)
	c.session = newSession(cfg, p, t, c.health)
	cfg.Metrics.add(c)
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.work.Go(func() { c.session.run(c.ctx) })
	return c, nil
}

// Close ends all background work and revokes the token, where the Client's login made it. Secrets that were read keep their
// last value.
func (c *Client) Close() {
	c.stop()
	c.documents.CloseAll()
	c.work.Wait()
	c.session.revoke()
	c.transport.http.CloseIdleConnections()
	c.cfg.Metrics.remove(c)
}

func (c Config) checked() (Config, error) {
	if c.Auth == nil {
		return c, errors.New("no way to log in is named")
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
		return c, fmt.Errorf("a time limit is negative, or the poll interval is under %s", MinPollInterval)
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

// minCallerWait is how long a caller must have waited at least for its deadline to say that Vault does not answer: a login
// waits for a signature less long than Config.Timeout, and the state must not wait for the next poll.
const minCallerWait = time.Second

// call is one request, made with the token that the client holds.
type call func(ctx context.Context, c *api.Client) (*api.Secret, error)

// do makes a request about target, once more with a new token where the present one turns out to be revoked. Its errors
// are of type *Error, or the context's.
func (c *Client) do(ctx context.Context, target string, f call) (*api.Secret, error) {
	caller := ctx
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
	if gaveUp := caller.Err(); gaveUp != nil && (gaveUp != context.DeadlineExceeded || time.Since(asked) < minCallerWait) {
		return nil, gaveUp // says nothing of Vault
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
