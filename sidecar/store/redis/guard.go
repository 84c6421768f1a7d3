package redis

import (
	"context"
	"net"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/store/breaker"
)

// guard adds a breaker to one server, as a hook of its client. In a cluster each node has its own guard, so that a lost node
// affects only its own keys. In other modes there is one guard, also when the client is replaced.
type guard struct {
	conn    *Conn
	node    atomic.Pointer[goredis.Client]
	breaker breaker.Breaker
	// blamed reports that a command of a store failed here, not only the client's own requests for the cluster layout, which
	// also go to replicas.
	blamed atomic.Bool
	// retired reports that the node of a cluster has no slots: it is a replica, or has left. It is not in use.
	retired atomic.Bool
	// cause is the server's latest failure. errOpen does not contain it.
	cause atomic.Pointer[outage]
}

type probeKey struct{}

// DialHook implements goredis.Hook.
func (g *guard) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements goredis.Hook.
func (g *guard) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if g.refuses(ctx) {
			return errOpen
		}
		return g.judge(next(ctx, cmd), cmd.Name() == "cluster" || cmd.Name() == "command")
	}
}

// ProcessPipelineHook implements goredis.Hook.
func (g *guard) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		if g.refuses(ctx) {
			for _, cmd := range cmds {
				cmd.SetErr(errOpen)
			}
			return errOpen
		}
		return g.judge(next(ctx, cmds), false)
	}
}

func (g *guard) refuses(ctx context.Context) bool {
	return g.breaker.Open() && ctx.Value(probeKey{}) == nil
}

// judge records the outcome. It hides the cause of an outage from the cluster client, which would otherwise retry.
func (g *guard) judge(err error, layout bool) error {
	found := classify(err)
	switch found {
	case answered, refused:
		g.breaker.Succeed()
		return err
	case unwritable:
		g.breaker.Succeed()
		g.conn.lookUp(false)
		return err
	case gone:
		return err
	}
	if !layout {
		g.blamed.Store(true)
	}
	failed := &outage{cause: err.Error()}
	g.cause.Store(failed)
	if found == notMaster && g.breaker.Trip() || found != notMaster && g.breaker.Fail() {
		g.conn.opened(g, err)
	} else if found == notMaster {
		g.conn.lookUp(true)
	}
	return failed
}

// probe checks whether the server takes writes again. A refusal that is not about being a replica comes from a working master.
func (g *guard) probe(ctx context.Context) {
	err := g.node.Load().Del(context.WithValue(ctx, probeKey{}, true), g.conn.config.ProbeKey).Err()
	switch classify(err) {
	case gone:
		g.conn.forget(g)
	case answered, refused, unwritable:
		g.blamed.Store(false)
		if g.breaker.Reset() {
			g.conn.closed(g)
		}
	}
}

// inUse reports whether the server matters to the stores.
func (g *guard) inUse() bool { return !g.retired.Load() }
