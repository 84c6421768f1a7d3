package resources

import (
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/pool"
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
	a.connName = name
	return conn, nil
}

// errGone says that a connection is closed.
var errGone = errors.New("the connection is closed")

// useConn returns a function that keeps the connection open, also when no snapshot uses it any more, until the result of that function is
// called. It is for requests that outlive their snapshot. The result is nil if the connection is already closed.
func (a *Acquirer) useConn() func() (done func()) {
	conns, name := a.shared.conns, a.connName
	gone := func() (*redis.Conn, func(), error) { return nil, nil, errGone }
	return func() func() {
		_, release, err := conns.Acquire(name, pool.Nested, gone)
		if err != nil {
			return nil
		}
		return release
	}
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
