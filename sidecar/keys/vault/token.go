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

// current returns the token in use. It waits for a login that is under way; where the latest one failed it returns that
// error at once.
func (s *session) current(ctx context.Context) (*lease, error) {
	for {
		s.mu.Lock()
		l, err, settled := s.lease, s.err, s.settled
		s.mu.Unlock()
		if l != nil && s.ended(l) {
			s.ask() // a machine that slept may not have noticed yet
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
			return nil, &Error{State: Unreachable, Target: loginTarget, Detail: "the login has not come to an end in time"}
		case <-settled:
		}
	}
}

// doubt finds out whether a token with which a request was forbidden has been revoked, and reports whether the request is
// worth another attempt. Vault gives the same status to a revoked token and to what a policy forbids.
func (s *session) doubt(ctx context.Context, l *lease) bool {
	select {
	case s.doubting <- struct{}{}:
		defer func() { <-s.doubting }()
	case <-ctx.Done():
		return false
	}
	if !s.holds(l) {
		return true // someone else found out
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

// drop stops the use of a token that Vault does not know any more, and has run log in again.
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
	default: // it has been asked
	}
}

// revoke gives the token back, as far as Vault answers.
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
	// A token that cannot be revoked ends by itself.
	_, _ = l.client.Logical().WriteWithContext(ctx, "auth/token/revoke-self", map[string]any{})
}

// expires is when the token in use ends; zero where there is none or it does not end.
func (s *session) expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.endless() {
		return time.Time{}
	}
	return s.lease.at.Add(s.lease.ttl)
}
