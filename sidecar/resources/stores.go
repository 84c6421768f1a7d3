package resources

import (
	"context"
	"log/slog"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationredis"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionredis"
	"github.com/posterndev/postern/sidecar/login/token/tokenredis"
	"github.com/posterndev/postern/sidecar/lookup/challenge"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/loginprotection/loginprotectionredis"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy/passwordpolicyredis"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflightredis"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitredis"
)

// Counters returns the store of the rate limits.
func (a *Acquirer) Counters() ratelimit.Store {
	if a.conn == nil {
		return a.shared.limits
	}
	return ratelimitredis.New(a.conn)
}

// LocalCounters returns the store that replaces Counters while Redis is unavailable.
func (a *Acquirer) LocalCounters() ratelimit.Store { return a.shared.limits }

// Places returns the places of requests in progress.
func (a *Acquirer) Places() *inflight.Places {
	if a.conn == nil {
		return a.shared.places.Places(a.shared.inFlight, nil)
	}
	return a.shared.places.Places(inflightredis.New(a.conn), a.useConn())
}

// Logins returns the store of attempts to log in.
func (a *Acquirer) Logins() loginprotection.Store {
	if a.conn == nil {
		return a.shared.logins
	}
	return loginprotectionredis.New(a.conn)
}

// LocalLogins returns the store that replaces Logins while Redis is unavailable.
func (a *Acquirer) LocalLogins() loginprotection.Store { return a.shared.logins }

// Passwords returns the store of old passwords.
func (a *Acquirer) Passwords() passwordpolicy.Store {
	if a.conn == nil {
		return a.shared.passwords
	}
	return passwordpolicyredis.New(a.conn)
}

// Challenge returns the verifier of solved challenges.
func (a *Acquirer) Challenge(p *compiled.Challenge) (loginprotection.Challenge, error) {
	source, err := a.secret(p.Secret)
	if err != nil {
		return nil, err
	}
	client, err := a.serviceClient(p.CABundle, p.Timeout)
	if err != nil {
		return nil, err
	}
	return challenge.New(challenge.Config{
		URL: p.URL, Secret: source, Hostnames: p.Hostnames, Action: p.Action, SendAddress: p.SendAddress, Client: client,
	})
}

// Sessions returns the store of the policy's sessions.
func (a *Acquirer) Sessions() session.Store {
	if a.conn == nil {
		return a.shared.sessions
	}
	return sessionredis.New(a.conn, a.scope(), Timeouts(a.policy))
}

// Timeouts returns the longest timeouts that the policy gives a session.
func Timeouts(p *compiled.Policy) session.Timeouts {
	if p.Sessions == nil {
		return session.Timeouts{}
	}
	return session.Timeouts{Idle: p.Sessions.IdleTimeout.Std(), Absolute: p.Sessions.AbsoluteTimeout.Std()}
}

// Replays returns the store of used logout tokens.
func (a *Acquirer) Replays() backchannel.Replay {
	if a.conn == nil {
		return a.shared.replay
	}
	return tokenredis.New(a.conn, a.scope())
}

// UsedProofs returns the store of used DPoP proofs.
func (a *Acquirer) UsedProofs() authn.UsedProofs {
	if a.conn == nil {
		return a.shared.proofs
	}
	return tokenredis.New(a.conn, a.scope())
}

// LocalUsedProofs returns the store that replaces UsedProofs while Redis is unavailable.
func (a *Acquirer) LocalUsedProofs() authn.UsedProofs { return a.shared.proofs }

// Revocations returns a store with its feed. The policies of a namespace share it: a user who may write policies
// there may revoke what these policies accept, and nothing of another namespace.
func (a *Acquirer) Revocations() RevocationStore {
	if a.conn == nil {
		return a.shared.revoked
	}
	return revocationredis.New(a.conn, a.policy.Namespace)
}

// RevocationStore can be written and followed.
type RevocationStore interface {
	revocation.Store
	revocation.Feed
}

// revocationsWait is how long a document waits for the revocations, so that they are loaded before the first request
// if Redis is available.
const revocationsWait = 2 * time.Second

// Index returns the index that follows the revocations of the namespace.
func (a *Acquirer) Index() (*revocation.Index, error) {
	staleness := a.policy.Revocation.MaxStaleness.Std()
	// The staleness is not part of the name: a new index would be empty while Redis is unavailable.
	name, err := named(a.policy.Redis, a.vaultOfRedis(), a.policy.Namespace)
	if err != nil {
		return nil, err
	}
	var before *revocation.Index // of the snapshot before
	if all := a.shared.indexes.InUse(); len(all) > 0 {
		before = all[0]
	}
	index, release, err := a.shared.indexes.Acquire(name, a.user, func() (*revocation.Index, func(), error) {
		own := a.nested()
		if a.policy.Redis != nil { // the index uses the connection for as long as it lives
			if own.conn, err = own.acquireConn(); err != nil {
				return nil, nil, err
			}
		}
		index, err := revocation.NewIndex(revocation.IndexConfig{
			Feed: own.Revocations(), MaxStaleness: staleness, Before: before, Metrics: a.shared.metrics.revocation, Log: a.shared.cfg.Logger,
			InProcess: a.policy.Redis == nil, Now: a.shared.cfg.Now,
		})
		if err != nil {
			own.Close()
			return nil, nil, err
		}
		return index, func() { index.Close(); own.Close() }, nil
	})
	if err != nil {
		return nil, err
	}
	a.onClose(release)
	index.LowerMaxStaleness(staleness)
	await(index, a.shared.cfg.Logger)
	return index, nil
}

func await(index *revocation.Index, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), revocationsWait)
	defer cancel()
	select {
	case <-index.Ready():
	case <-ctx.Done():
		log.Warn("the revocations are not loaded yet; revocation.onFailure applies until they are")
	}
}

// Active returns the revocations of the active snapshot.
func (a *Acquirer) Active() *Revocations { return a.shared.active }
