package redis

import (
	"context"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// policyInterval is the pause between checks of the servers' maxmemory-policy.
const policyInterval = time.Minute

// noEviction is the only maxmemory-policy under which a server keeps what it has acknowledged.
const noEviction = "noeviction"

// evicting returns the maxmemory-policy of a server that may delete keys, or "".
func (c *Conn) evicting() string {
	if p := c.policy.Load(); p != nil && *p != noEviction {
		return *p // "" if it is unknown
	}
	return ""
}

// checkPolicy reads the maxmemory-policy of all servers in use. INFO needs less permission than CONFIG GET.
func (c *Conn) checkPolicy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, roundTrips*c.config.Timeout)
	defer cancel()
	var mu sync.Mutex
	worst := ""
	read := func(ctx context.Context, node *goredis.Client) error {
		info, err := node.Info(ctx, "memory").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if p := policyOf(info); p != "" && (worst == "" || worst == noEviction) {
			worst = p
		}
		return nil
	}
	var err error
	switch client := c.link.Load().client.(type) {
	case *goredis.ClusterClient:
		err = client.ForEachMaster(ctx, read)
	case *goredis.Client:
		err = read(ctx, client)
	}
	switch {
	case worst != "":
		c.setPolicy(worst)
	case err != nil && classify(err) == refused && c.policy.CompareAndSwap(nil, new(string)): // once
		c.log.Info("the maxmemory-policy of Redis is unknown; allow the sidecar's user to run INFO", "error", err)
	}
}

// setPolicy records and logs a change.
func (c *Conn) setPolicy(now string) {
	before := c.policy.Swap(&now)
	if before != nil && *before == now {
		return
	}
	switch {
	case now != noEviction:
		c.log.Warn("Redis may evict keys, and with them sessions and revocations; set maxmemory-policy noeviction", "maxmemoryPolicy", now)
	case before != nil:
		c.log.Info("Redis does not evict keys", "maxmemoryPolicy", now)
	}
}

// policyOf returns the maxmemory-policy in the reply of INFO memory, or "".
func policyOf(info string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return value[:min(len(value), 32)]
		}
	}
	return ""
}
