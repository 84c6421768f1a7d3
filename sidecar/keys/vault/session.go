package vault

import (
	"context"
	"sync"
	"time"
)

// session maintains one login: it renews the token, and logs in again if that fails.
type session struct {
	cfg       Config
	pace      pace
	transport *transport
	health    *health

	// replace requests a new login from run.
	replace chan struct{}
	// doubting is held while the token is checked.
	doubting chan struct{}
	verified time.Time // when Vault last confirmed the token; guarded by doubting

	mu    sync.Mutex
	lease *lease
	// err is why there is no lease; nil before the first login and while a login is due.
	err error
	// settled is closed when a login has succeeded or failed.
	settled chan struct{}
}

func newSession(cfg Config, p pace, t *transport, h *health) *session {
	return &session{cfg: cfg, pace: p, transport: t, health: h,
		replace: make(chan struct{}, 1), doubting: make(chan struct{}, 1), settled: make(chan struct{})}
}

// run logs in and maintains the login until ctx ends.
func (s *session) run(ctx context.Context) {
	wait := backoff{pace: s.pace}
	for ctx.Err() == nil {
		l, err := s.login(ctx)
		if ctx.Err() != nil && err != nil {
			return
		}
		s.settle(l, err)
		if err == nil && s.keep(ctx, l) {
			wait.reset()
			continue
		}
		sleep(ctx, wait.wait())
	}
}

// login makes one login attempt.
func (s *session) login(ctx context.Context) (*lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.Timeout)
	defer cancel()
	at := s.cfg.Now()
	g, err := s.cfg.Auth.login(ctx, s.transport)
	if err != nil {
		return nil, newError(loginTarget, stateOf(err), err)
	}
	c, err := s.transport.client(g.token)
	if err != nil {
		return nil, newError(loginTarget, NoCredentials, err, g.token)
	}
	l := &lease{grant: g, client: c, since: at, at: at, full: g.ttl}
	if g.own {
		_, err := c.Logical().ReadWithDataWithContext(ctx, selfPath, nil)
		l.blind = stateOf(err) == PermissionDenied
	}
	return l, nil
}

// settle stores the outcome of a login. After a failure the previous token stays in use until it expires.
func (s *session) settle(l *lease, err error) {
	s.mu.Lock()
	if err == nil {
		s.lease, s.err = l, nil
		select { // this login satisfies earlier requests
		case <-s.replace:
		default:
		}
	} else {
		s.err = err
		if s.lease != nil && s.lease.left(s.cfg.Now()) <= 0 {
			s.lease = nil
		}
	}
	close(s.settled)
	s.settled = make(chan struct{})
	s.mu.Unlock()
	if err != nil {
		s.cfg.Metrics.logins.WithLabelValues(string(stateOf(err))).Inc()
		s.health.failed(loginTarget, newError(loginTarget, stateOf(err), err))
		return
	}
	s.cfg.Metrics.logins.WithLabelValues(string(OK)).Inc()
	s.health.worked(loginTarget)
}

// keep renews l until another login is due. It reports false if the token ended unexpectedly.
func (s *session) keep(ctx context.Context, l *lease) bool {
	file, watch := s.cfg.Auth.(TokenFile)
	for {
		wait := l.due(s.cfg.Now(), s.pace.first)
		look := watch && wait > s.pace.watch
		if look {
			wait = s.pace.watch
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return true
		case <-s.replace:
			timer.Stop()
			return s.holds(l) && !s.ended(l)
		case <-timer.C:
		}
		switch {
		case watch && file.replaced(ctx, l.token), !look && !l.renewable && !l.endless():
			return !s.ended(l)
		case look, l.endless():
			continue
		}
		next, again := s.renew(ctx, l)
		if again {
			return !s.ended(next)
		}
		l = next
	}
}

// renew renews the token, or reports that a new login is due instead.
func (s *session) renew(ctx context.Context, l *lease) (next *lease, again bool) {
	at := s.cfg.Now()
	secret, err := l.client.Logical().WriteWithContext(ctx, "auth/token/renew-self", map[string]any{})
	if err == nil && (secret == nil || secret.Auth == nil || secret.Auth.LeaseDuration < 0 || secret.Auth.LeaseDuration > maxTTL) {
		err = &Error{State: Unreachable, Target: renewTarget, Detail: "the response is not from Vault"}
	}
	if err != nil {
		if ctx.Err() != nil {
			return l, true
		}
		failure := newError(renewTarget, stateOf(err), err, l.token)
		s.cfg.Metrics.renewals.WithLabelValues(string(failure.State)).Inc()
		// After the maximum lifetime Vault responds with 500, too.
		refused := failure.Status != 0 && failure.State != Sealed && failure.State != Throttled
		if !refused {
			s.health.failed(renewTarget, failure)
		}
		return l, refused || s.ended(l)
	}
	s.cfg.Metrics.renewals.WithLabelValues(string(OK)).Inc()
	s.health.worked(renewTarget)
	renewed := *l
	renewed.at, renewed.ttl = at, time.Duration(secret.Auth.LeaseDuration)*time.Second
	renewed.renewable = secret.Auth.Renewable
	s.mu.Lock()
	if s.lease != nil && s.lease.client == l.client {
		s.lease = &renewed
	}
	s.mu.Unlock()
	return &renewed, renewed.spent()
}

// settling returns a channel that is closed when the next login has succeeded or failed.
func (s *session) settling() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

func (s *session) ended(l *lease) bool { return l.left(s.cfg.Now()) <= 0 }

// holds reports whether l's token is still the current one.
func (s *session) holds(l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease != nil && s.lease.client == l.client
}
