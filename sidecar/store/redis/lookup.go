package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// How urgently the master must be looked up: not at all, without disturbing the commands in progress, or at once.
const (
	lookUpNever int32 = iota
	lookUpLater
	lookUpNow
)

const (
	// laterInterval is the minimum pause between look-ups while a master refuses writes.
	laterInterval = 5 * time.Second
	// topologyInterval is the pause between loads of a cluster's topology while one of its nodes is unavailable.
	topologyInterval = 500 * time.Millisecond
)

// lookUp asks the monitor to look up the master again. certain says that the present server is of no use.
func (c *Conn) lookUp(certain bool) {
	if certain {
		c.asked.Store(lookUpNow)
	} else {
		c.asked.CompareAndSwap(lookUpNever, lookUpLater)
		return // the monitor does it at its next check
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// moved drops a link whose server is not the master that the Sentinels name.
func (c *Conn) moved(l *link) {
	if c.link.Load() == l {
		c.lookUp(true)
	}
}

// answer does what lookUp asked for. It drops the connections, so that DNS, the Sentinels or a proxy choose the server again. In a
// cluster it loads the topology.
func (c *Conn) answer(ctx context.Context, m *monitor) {
	if c.config.Mode == Cluster {
		now := time.Now()
		urgent := c.asked.Swap(lookUpNever) == lookUpNow
		if urgent || c.openGuards() > 0 && now.Sub(m.loaded) >= topologyInterval {
			m.loaded = now
			c.loadTopology(ctx)
		}
		return
	}
	switch c.asked.Load() {
	case lookUpNow:
		c.replace(0)
	case lookUpLater:
		if time.Since(m.replaced) < laterInterval {
			return
		}
		c.replace(c.HoldTimeout(maxHeld))
	default:
		return
	}
	m.replaced = time.Now()
	c.asked.Store(lookUpNever)
}

// maxHeld is how long a blocking command in progress is left alone when a link is replaced without need to hurry.
const maxHeld = time.Second

// replace opens another link and closes the present one after grace.
func (c *Conn) replace(grace time.Duration) {
	next := c.opener.open()
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		next.drop()
		_ = next.client.Close()
		return
	}
	old := c.link.Swap(next)
	c.mu.Unlock()
	c.metrics.lookups.WithLabelValues("master").Inc()
	old.drop()
	if grace == 0 {
		_ = old.client.Close()
		return
	}
	time.AfterFunc(grace, func() { _ = old.client.Close() })
}

// loadTopology loads the topology of the cluster, and retires the nodes that have no slots.
func (c *Conn) loadTopology(ctx context.Context) {
	cluster, ok := c.link.Load().client.(*goredis.ClusterClient)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, roundTrips*c.config.Timeout)
	defer cancel()
	c.metrics.lookups.WithLabelValues("topology").Inc()
	var mu sync.Mutex
	masters := map[*goredis.Client]bool{}
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters[node] = true
		return nil
	})
	if err != nil || len(masters) == 0 {
		c.log.Debug("loading the topology of the cluster", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range c.guards {
		g.retired.Store(!masters[g.node.Load()])
	}
}
