package vault

import (
	"context"
	"errors"
	"time"
)

const (
	selfPath    = "auth/token/lookup-self"
	renewTarget = "token renewal"
)

// current returns the current token. It waits for a login in progress. If the latest login failed, it returns that error at once.
func (s *session) current(ctx context.Context) (*lease, error) {
	for {
		s.mu.Lock()
		l, err, settled := s.lease, s.err, s.settled
		s.mu.Unlock()
		if l != nil && s.ended(l) {
			s.ask() // run may not have noticed it yet, after the machine was suspended
			l = nil
		}
		if l != nil {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, &Error{State: Unreachable, Target: loginTarget, Detail: "the login did not end in time"}
		case <-settled:
		}
	}
}

// doubt checks, after a request was forbidden, whether its token has been revoked, and reports whether the request should be repeated.
// Vault returns the same status for a revoked token and for a forbidden path.
func (s *session) doubt(ctx context.Context, l *lease) bool {
	select {
	case s.doubting <- struct{}{}:
		defer func() { <-s.doubting }()
	case <-ctx.Done():
		return false
	}
	if !s.holds(l) {
		return true // another request has replaced it
	}
	now := s.cfg.Now()
	if now.Sub(s.verified) < s.pace.doubt {
		return false
	}
	revoked := false
	if !l.blind {
		_, err := l.client.Logical().ReadWithDataWithContext(ctx, selfPath, nil)
		if state := stateOf(err); state != OK && state != PermissionDenied {
			return false
		}
		revoked = err != nil
	}
	if !revoked {
		s.verified = now
		if now.Sub(l.since) > s.pace.refresh {
			s.ask()
		}
		return false
	}
	s.drop(l)
	return true
}

// drop discards a revoked token, and makes run log in again.
func (s *session) drop(l *lease) {
	s.mu.Lock()
	if s.lease != nil && s.lease.client == l.client {
		s.lease, s.err = nil, nil
	}
	s.mu.Unlock()
	s.ask()
}

func (s *session) ask() {
	select {
	case s.replace <- struct{}{}:
	default: // already requested
	}
}

// revoke revokes the token, if Vault responds.
func (s *session) revoke() {
	s.mu.Lock()
	l := s.lease
	s.lease, s.err = nil, errors.New("vault: the client is closed")
	close(s.settled)
	s.settled = make(chan struct{})
	s.mu.Unlock()
	if l == nil || !l.own {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.pace.revoke)
	defer cancel()
	// A token that cannot be revoked expires.
	_, _ = l.client.Logical().WriteWithContext(ctx, "auth/token/revoke-self", map[string]any{})
}

// expires returns when the current token expires; zero if there is none or it does not expire.
func (s *session) expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.endless() {
		return time.Time{}
	}
	return s.lease.at.Add(s.lease.ttl)
}
