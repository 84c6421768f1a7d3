package resources

import (
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
)

func (a *Acquirer) acquireConn() (*redis.Conn, error) {
	name, err := named(a.policy.Redis, a.vaultOfRedis())
	if err != nil {
		return nil, err
	}
	conn, release, err := a.shared.conns.Acquire(name, a.user, a.openConn)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	a.onClose(release)
	return conn, nil
}

// vaultOfRedis returns the policy's Vault if it holds one of Redis's secrets. Otherwise a change of the Vault does
// not open another connection.
func (a *Acquirer) vaultOfRedis() *compiled.Vault {
	r := a.policy.Redis
	if r == nil {
		return nil
	}
	refs := []*compiled.SecretRef{r.Password, r.SentinelPassword}
	if r.TLS != nil {
		refs = append(refs, r.TLS.Certificate, r.TLS.Key)
	}
	for _, ref := range refs {
		if ref != nil && ref.VaultPath != "" {
			return a.policy.Vault
		}
	}
	return nil
}

func (a *Acquirer) openConn() (*redis.Conn, func(), error) {
	own := a.nested()
	c, err := own.redisConfig(a.policy.Redis)
	if err != nil {
		own.Close()
		return nil, nil, err
	}
	conn, err := redis.Open(c, a.shared.metrics.redis, a.shared.cfg.Logger)
	if err != nil {
		own.Close()
		return nil, nil, err
	}
	return conn, func() {
		if err := conn.Close(); err != nil {
			a.shared.cfg.Logger.Warn("closing the Redis connection", "error", err)
		}
		own.Close()
	}, nil
}

func (a *Acquirer) redisConfig(r *compiled.Redis) (c redis.Config, err error) {
	c = redis.Config{
		Mode: redis.Mode(r.Mode), Addresses: r.Addresses, MasterName: r.MasterName, Database: r.Database, Username: r.Username,
		Timeout: r.Timeout.Std(), ProbeKey: keyspace.New("revocation", a.policy.Namespace).Key("probe"),
	}
	if c.Password, err = a.secret(r.Password); err != nil {
		return c, err
	}
	if c.SentinelPassword, err = a.secret(r.SentinelPassword); err != nil || r.TLS == nil {
		return c, err
	}
	c.TLS = &redis.TLSConfig{ServerName: r.TLS.ServerName, CABundle: []byte(r.TLS.CABundle)}
	if c.TLS.Certificate, err = a.secret(r.TLS.Certificate); err != nil {
		return c, err
	}
	c.TLS.Key, err = a.secret(r.TLS.Key)
	return c, err
}
