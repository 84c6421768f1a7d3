package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Issuer issues a certificate. Errors contain no part of the key.
type Issuer interface {
	Issue(ctx context.Context) (tls.Certificate, error)
}

// Pauses between attempts to renew. A PKI that refuses is not asked more often than once in lastRetry.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// minRenewal is the shortest time between two certificates, so that one with a short lifetime, or a wrong clock, causes no flood.
const minRenewal = 30 * time.Second

// errNotIssued is the error before the first attempt has ended.
var errNotIssued = errors.New("the certificate was not issued yet")

// Options configure a Store or an Issued. Logger is required.
type Options struct {
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
	// Slow says that the first read of a Store may take long, so that it happens in the background.
	Slow bool
	// Interval is how often a Store reads its source; it defaults to keyfile.DefaultInterval.
	Interval time.Duration
	// Now and Sleep are the clock of an Issued: time.Now, and a wait that reports false when ctx ends, if nil.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) bool
}

// Issued is a certificate that is issued for this sidecar alone, and renewed at two thirds of its lifetime. It is in memory only. It
// implements Held.
type Issued struct {
	name    string
	issuer  Issuer
	options Options
	state   atomic.Pointer[issuedState]
	tried   chan struct{}
	once    sync.Once
	cancel  context.CancelFunc
	done    chan struct{}
}

// issuedState is immutable. certificate is nil before the first one was issued; err is why the latest attempt failed.
type issuedState struct {
	certificate *Certificate
	err         error
}

var _ Held = (*Issued)(nil)

// Issue gets a certificate and renews it in the background until Close.
func Issue(name string, issuer Issuer, options Options) *Issued {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Sleep == nil {
		options.Sleep = sleep
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &Issued{name: name, issuer: issuer, options: options, tried: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	i.state.Store(&issuedState{err: errNotIssued})
	go i.run(ctx)
	return i
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (i *Issued) run(ctx context.Context) {
	defer close(i.done)
	retry := firstRetry
	for {
		wait := i.renew(ctx)
		if wait == 0 {
			wait, retry = retry/2+rand.N(retry/2+1), min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		i.once.Do(func() { close(i.tried) })
		if ctx.Err() != nil || !i.options.Sleep(ctx, wait) {
			return
		}
	}
}

// renew gets a certificate. It returns the time until the next one is due, or 0 if the attempt failed.
func (i *Issued) renew(ctx context.Context) time.Duration {
	last := i.state.Load()
	c, err := i.issue(ctx)
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		err = fmt.Errorf("issuing certificate %s: %w", i.name, err)
		if last.err == nil || last.err.Error() != err.Error() {
			i.options.Logger.Warn("issuing a certificate failed", "certificate", i.name, "lastKept", last.certificate != nil, "error", err)
		}
		i.state.Store(&issuedState{certificate: last.certificate, err: err})
		return 0
	}
	i.state.Store(&issuedState{certificate: c})
	i.options.Metrics.replaced(i.name, last.certificate, c)
	i.options.Logger.Info("certificate issued", "certificate", i.name, "notAfter", c.NotAfter())
	return renewal(c, i.options.Now())
}

func (i *Issued) issue(ctx context.Context) (*Certificate, error) {
	pair, err := i.issuer.Issue(ctx)
	if err != nil {
		return nil, err
	}
	c, err := newCertificate(pair)
	if err != nil {
		return nil, err
	}
	if c.expired(i.options.Now()) {
		return nil, fmt.Errorf("it expired at %s: compare the clocks of this node and of the issuer", c.NotAfter().UTC().Format(time.RFC3339))
	}
	return c, nil
}

// renewal returns the time until a certificate should be renewed: at two thirds of its lifetime, less up to a fifteenth, so that replicas that
// started together do not renew together.
func renewal(c *Certificate, now time.Time) time.Duration {
	whole := c.NotAfter().Sub(c.Leaf.NotBefore)
	due := c.Leaf.NotBefore.Add(whole * 2 / 3).Add(-rand.N(whole/15 + 1))
	return max(due.Sub(now), minRenewal)
}

// Current implements Held.
func (i *Issued) Current() (*Certificate, error) {
	st := i.state.Load()
	if st.certificate == nil {
		return nil, st.err
	}
	return st.certificate, nil
}

// Err implements Held.
func (i *Issued) Err() error { return i.state.Load().err }

// Name implements Held.
func (i *Issued) Name() string { return i.name }

// Shared implements Held.
func (i *Issued) Shared() bool { return false }

// Tried implements Held.
func (i *Issued) Tried() <-chan struct{} { return i.tried }

// Close ends the renewals.
func (i *Issued) Close() {
	i.cancel()
	<-i.done
}
