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
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitredis"
)

// Counters keep the counts of rate limits.
func (a *Acquirer) Counters() ratelimit.Store {
	if a.conn == nil {
		return a.shared.limits
	}
	return ratelimitredis.New(a.conn)
}

// LocalCounters stand in for Counters while Redis is away.
func (a *Acquirer) LocalCounters() ratelimit.Store { return a.shared.limits }

// Sessions keep the policy's sessions.
func (a *Acquirer) Sessions() session.Store {
	if a.conn == nil {
		return a.shared.sessions
	}
	return sessionredis.New(a.conn, a.scope(), Timeouts(a.policy))
}

// Timeouts are the longest that the policy gives a session.
func Timeouts(p *compiled.Policy) session.Timeouts {
	if p.Sessions == nil {
		return session.Timeouts{}
	}
	return session.Timeouts{Idle: p.Sessions.IdleTimeout.Std(), Absolute: p.Sessions.AbsoluteTimeout.Std()}
}

// Replays remember the logout tokens that were used.
func (a *Acquirer) Replays() backchannel.Replay {
	if a.conn == nil {
		return a.shared.replay
	}
	return tokenredis.New(a.conn, a.scope())
}

// Revocations are a store with its feed. They are shared by a namespace: a user who may write policies there may revoke what
// these accept, and nothing of another namespace.
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

// revocationsWait is how long a document waits for the revocations, so that a sidecar whose Redis is available has them before the
// first request.
const revocationsWait = 2 * time.Second

// Index follows the revocations of the namespace.
func (a *Acquirer) Index() (*revocation.Index, error) {
	staleness := a.policy.Revocation.MaxStaleness.Std()
	// The staleness is not part of the name: a new index knows nothing while Redis is away.
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
		if a.policy.Redis != nil { // its own use of the connection lasts as long as the index
			if own.conn, err = own.acquireConn(); err != nil {
				return nil, nil, err
			}
		}
		index, err := revocation.NewIndex(revocation.IndexConfig{
			Feed: own.Revocations(), MaxStaleness: staleness, Before: before, Metrics: a.shared.metrics.revocation, Log: a.shared.cfg.Logger,
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
		log.Warn("the revocations cannot be loaded yet; revocation.onFailure decides until they are")
	}
}

// Active are the revocations of the snapshot in force.
func (a *Acquirer) Active() *Revocations { return a.shared.active }
