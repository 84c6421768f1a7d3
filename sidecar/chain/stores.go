package chain

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

func (t *acquirer) counters() ratelimit.Store {
	if t.conn == nil {
		return t.limits
	}
	return ratelimitredis.New(t.conn)
}

func (t *acquirer) sessionStore() session.Store {
	if t.conn == nil {
		return t.sessions
	}
	return sessionredis.New(t.conn, t.scope(), timeouts(t.policy))
}

// timeouts are the policy's longest.
func timeouts(p *compiled.Policy) session.Timeouts {
	if p.Sessions == nil {
		return session.Timeouts{}
	}
	return session.Timeouts{Idle: p.Sessions.IdleTimeout.Std(), Absolute: p.Sessions.AbsoluteTimeout.Std()}
}

func (t *acquirer) replays() backchannel.Replay {
	if t.conn == nil {
		return t.replay
	}
	return tokenredis.New(t.conn, t.scope())
}

// revocations is a store with its feed. A namespace is what shares them: whoever may write policies there may revoke what they
// accept, and nothing of any other namespace.
func (t *acquirer) revocations() revocations {
	if t.conn == nil {
		return t.revoked
	}
	return revocationredis.New(t.conn, t.policy.Namespace)
}

type revocations interface {
	revocation.Store
	revocation.Feed
}

// revocationsWait is for how long a document waits for what is revoked, so that a sidecar that starts beside a working Redis
// knows it before the first request.
const revocationsWait = 2 * time.Second

func (t *acquirer) index() (*revocation.Index, error) {
	staleness := t.policy.Revocation.MaxStaleness.Std()
	// Not the staleness: an index that is made anew knows nothing while Redis is away.
	name, err := named(t.policy.Redis, t.vaultOfRedis(), t.policy.Namespace)
	if err != nil {
		return nil, err
	}
	var before *revocation.Index // of the snapshot before
	if all := t.indexes.inUse(); len(all) > 0 {
		before = all[0]
	}
	index, release, err := t.indexes.acquire(name, t.user, func() (*revocation.Index, func(), error) {
		own := t.nested()
		if t.policy.Redis != nil { // a connection of its own account, which lives as long as the index
			if own.conn, err = own.acquireConn(); err != nil {
				return nil, nil, err
			}
		}
		index, err := revocation.NewIndex(revocation.IndexConfig{
			Feed: own.revocations(), MaxStaleness: staleness, Before: before, Metrics: t.metrics.revocation, Log: t.cfg.Logger,
		})
		if err != nil {
			own.close()
			return nil, nil, err
		}
		return index, func() { index.Close(); own.close() }, nil
	})
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	index.LowerMaxStaleness(staleness)
	await(index, t.cfg.Logger)
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
