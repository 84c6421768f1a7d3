package chain

import (
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redis"
)

func (t *acquirer) acquireConn() (*redis.Conn, error) {
	name, err := named(t.policy.Redis, t.vaultOfRedis())
	if err != nil {
		return nil, err
	}
	conn, release, err := t.conns.acquire(name, t.user, t.openConn)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	t.onClose(release)
	return conn, nil
}

// vaultOfRedis is the policy's Vault where one of Redis's secrets lies there. Where none does, another Vault is no reason for
// another connection.
func (t *acquirer) vaultOfRedis() *compiled.Vault {
	r := t.policy.Redis
	if r == nil {
		return nil
	}
	refs := []*compiled.SecretRef{r.Password, r.SentinelPassword}
	if r.TLS != nil {
		refs = append(refs, r.TLS.Certificate, r.TLS.Key)
	}
	for _, ref := range refs {
		if ref != nil && ref.VaultPath != "" {
			return t.policy.Vault
		}
	}
	return nil
}

func (t *acquirer) openConn() (*redis.Conn, func(), error) {
	own := t.nested()
	c, err := own.redisConfig(t.policy.Redis)
	if err != nil {
		own.close()
		return nil, nil, err
	}
	conn, err := redis.Open(c, t.metrics.redis, t.cfg.Logger)
	if err != nil {
		own.close()
		return nil, nil, err
	}
	return conn, func() {
		if err := conn.Close(); err != nil {
			t.cfg.Logger.Warn("closing the Redis connection", "error", err)
		}
		own.close()
	}, nil
}

func (t *acquirer) redisConfig(r *compiled.Redis) (c redis.Config, err error) {
	c = redis.Config{
		Mode: redis.Mode(r.Mode), Addresses: r.Addresses, MasterName: r.MasterName, Database: r.Database, Username: r.Username,
		Timeout: r.Timeout.Std(),
	}
	if c.Password, err = t.secret(r.Password); err != nil {
		return c, err
	}
	if c.SentinelPassword, err = t.secret(r.SentinelPassword); err != nil || r.TLS == nil {
		return c, err
	}
	c.TLS = &redis.TLSConfig{ServerName: r.TLS.ServerName, CABundle: []byte(r.TLS.CABundle)}
	if c.TLS.Certificate, err = t.secret(r.TLS.Certificate); err != nil {
		return c, err
	}
	c.TLS.Key, err = t.secret(r.TLS.Key)
	return c, err
}
