package chain

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

// listed are the revocations that the document carries.
func listed(p *compiled.Policy) []revocation.Entry {
	entries := make([]revocation.Entry, 0, len(p.RevokedTokens))
	for _, r := range p.RevokedTokens {
		entries = append(entries, revocation.Entry{
			Kind: revocation.Kind(r.Kind), Issuer: r.Issuer, Value: r.Value, Before: r.BeforeTime(), Expires: r.ExpiresAt(),
		})
	}
	return entries
}

// revocation refuses what is revoked, before the session is looked for.
func (b *builder) revocation() stage.Stage {
	r := b.policy.Revocation
	if b.stripCredentials == nil {
		return nil
	}
	if r == nil { // the document alone counts, and that is always at hand
		r = &compiled.Revocation{OnFailure: compiled.Deny, Mode: compiled.Enforce}
	}
	s, err := revocation.New(revocation.Config{
		Index: b.known, OnFailure: revocation.OnFailure(r.OnFailure), MaxStaleness: r.MaxStaleness.Std(),
		Shadow: r.Mode == compiled.Shadow, Realm: b.policy.Name, StripCredentials: b.stripCredentials, Current: &b.now.tokens,
	})
	b.fail(err, "revocation")
	return s
}

// inShadow reports whether what is revoked is let pass all the same.
func inShadow(p *compiled.Policy) bool {
	return p.Mode == compiled.Shadow || p.Revocation != nil && p.Revocation.Mode == compiled.Shadow
}

// verdicts are for whoever gives out tokens, or vouches for them: nothing is revoked where that is only tried.
func (b *builder) verdicts() token.RevocationChecker {
	r := b.policy.Revocation
	if inShadow(b.policy) {
		return revocation.PolicyChecker{Index: revocation.Known{}, OnFailure: revocation.Allow}
	}
	if r == nil {
		return revocation.PolicyChecker{Index: b.known, OnFailure: revocation.Deny}
	}
	return revocation.PolicyChecker{Index: b.known, OnFailure: revocation.OnFailure(r.OnFailure), MaxStaleness: r.MaxStaleness.Std()}
}

// revoker is nil where the policy accepts no tokens.
func (b *builder) revoker(sessionManager *token.SessionManager) *token.Revoker {
	var trusted []token.TrustedIssuer
	if t := b.policy.Tokens; t != nil {
		lifetime := t.AccessLifetime.Std()
		trusted = append(trusted, token.TrustedIssuer{
			Issuer: t.Issuer, Own: true, Lifetime: lifetime, SessionLifetime: lifetime + b.policy.Sessions.AbsoluteTimeout.Std(),
		})
	}
	for i := range b.policy.Providers {
		trusted = append(trusted, b.trusted(&b.policy.Providers[i]))
	}
	if len(trusted) == 0 {
		return nil
	}
	r, err := token.NewRevoker(token.RevokerConfig{Issuers: trusted, Sessions: sessionManager, Revocations: b.revocations})
	b.fail(err, "revocation")
	return r
}

func (b *builder) trusted(p *compiled.Provider) token.TrustedIssuer {
	t := token.TrustedIssuer{Issuer: p.Issuer, Lifetime: p.TokenLifetime(), SessionLifetime: p.TokenLifetime()}
	if s := b.policy.Sessions; s != nil && s.SubjectFrom != "" {
		t.SessionLifetime += s.AbsoluteTimeout.Std()
		t.BySession = s.SubjectFrom == string(session.FromSID)
	}
	return t
}

// endedSessions remembers which of the document's revocations have ended their sessions, so that a new document does not
// begin anew.
type endedSessions struct {
	mu   sync.Mutex
	done map[revocation.Entry]bool
}

func newEndedSessions() *endedSessions { return &endedSessions{done: map[revocation.Entry]bool{}} }

// missing forgets what is not in entries, and returns those that are not done.
func (e *endedSessions) missing(entries []revocation.Entry) []revocation.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept, missing := map[revocation.Entry]bool{}, []revocation.Entry(nil)
	for _, entry := range entries {
		if e.done[entry] {
			kept[entry] = true
			continue
		}
		missing = append(missing, entry)
	}
	e.done = kept
	return missing
}

func (e *endedSessions) add(entry revocation.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done[entry] = true
}

// endRetry is the pause before a store that did not answer is asked again.
const endRetry = 2 * time.Second

// endRevoked ends the sessions that the document's revocations name, in the background and until it has worked; nobody can
// use or refresh them meanwhile. In Shadow none is ended. The caller calls stop.
func (s *Shared) endRevoked(p *compiled.Policy, revoker *token.Revoker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	if revoker == nil || p.Sessions == nil || inShadow(p) {
		return cancel
	}
	missing := s.ended.missing(listed(p))
	go func() {
		for told := false; len(missing) > 0; pause(ctx, endRetry/2+rand.N(endRetry)) {
			var err error
			if missing, err = s.endEach(ctx, revoker, missing); ctx.Err() != nil {
				return
			}
			if err != nil && !told {
				s.cfg.Logger.Warn("not every revoked session could be ended yet, trying again", "left", len(missing), "error", err)
				told = true
			}
		}
	}()
	return cancel
}

// endEach returns those that failed, and why the last of them did: one session that cannot be read keeps none of the others.
func (s *Shared) endEach(ctx context.Context, revoker *token.Revoker, entries []revocation.Entry) (failed []revocation.Entry, last error) {
	for _, entry := range entries {
		if err := revoker.EndSessions(ctx, entry); err != nil {
			failed, last = append(failed, entry), err
		} else {
			s.ended.add(entry)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed, last
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
