package chain

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/authn"
	"github.com/posterndev/postern/sidecar/jwks"
	"github.com/posterndev/postern/sidecar/observe"
	"github.com/posterndev/postern/sidecar/ratelimit"
	"github.com/posterndev/postern/sidecar/ratelimit/memory"
	limitredis "github.com/posterndev/postern/sidecar/ratelimit/redis"
	"github.com/posterndev/postern/sidecar/secret"
	"github.com/posterndev/postern/sidecar/state/redis"
)

// SharedConfig is what Shared is made of.
type SharedConfig struct {
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	// SecretsDir is where Secrets are mounted, one folder each.
	SecretsDir string
}

// Shared is what outlives snapshots, so that a reload neither fetches keys again, nor forgets a count, nor opens a
// connection anew. It is safe for concurrent use.
type Shared struct {
	cfg     SharedConfig
	metrics *observe.Metrics
	tokens  *authn.Metrics
	redis   *redis.Metrics
	keys    *jwks.Manager
	local   *memory.Store

	mu    sync.Mutex
	conns map[string]*sharedConn
}

// sharedConn is a connection with the number of snapshots that use it.
type sharedConn struct {
	conn  *redis.Conn
	users int
}

// closeDelay is how long a connection outlives its last snapshot, whose requests may still be under way.
const closeDelay = time.Minute

// NewShared registers the metrics; it fails where their names are taken.
func NewShared(c SharedConfig) (*Shared, error) {
	s := &Shared{cfg: c, conns: map[string]*sharedConn{}, local: memory.New(memory.Config{Log: c.Logger})}
	var err error
	if s.metrics, err = observe.NewMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("registering request metrics: %w", err)
	}
	if s.tokens, err = authn.NewMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("registering token metrics: %w", err)
	}
	if s.redis, err = redis.NewMetrics(c.Registerer); err != nil {
		return nil, fmt.Errorf("registering state metrics: %w", err)
	}
	if s.keys, err = jwks.NewManager(jwks.ManagerConfig{Registerer: c.Registerer, Logger: c.Logger}); err != nil {
		return nil, fmt.Errorf("registering key metrics: %w", err)
	}
	return s, nil
}

// Keys is the state of each provider's keys.
func (s *Shared) Keys() []jwks.Status { return s.keys.Status() }

// Redis is the state of the connection in use; ok is false where no policy names a Redis.
func (s *Shared) Redis() (status redis.Status, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.users > 0 {
			return c.conn.Status(), true
		}
	}
	return redis.Status{}, false
}

// secret is the source of a mounted Secret's key; nil for nil.
func (s *Shared) secret(ref *compiled.SecretRef) secret.Source {
	if ref == nil {
		return nil
	}
	return secret.File(filepath.Join(s.cfg.SecretsDir, ref.Name, ref.Key))
}

func (s *Shared) acquireKeys(p *compiled.Provider) (authn.Keys, func(), error) {
	spec := keySpec(p)
	if ref := p.Keys.Secret; ref != nil {
		spec.Secret, spec.SecretName = s.secret(ref), ref.Name+"/"+ref.Key
	}
	return s.keys.Acquire(spec)
}

func keySpec(p *compiled.Provider) jwks.Spec {
	return jwks.Spec{
		Provider: p.Name, Algorithms: p.Algorithms, URI: p.Keys.URI, RefreshInterval: p.Keys.RefreshInterval.Std(),
		MaxStale: p.Keys.MaxStale.Std(), CABundle: []byte(p.Keys.CABundle), Inline: p.Keys.Inline,
	}
}

// acquireCounters returns the store of the policy's limits: Redis, or this process where none is named.
func (s *Shared) acquireCounters(r *compiled.Redis) (ratelimit.Store, func(), error) {
	if r == nil {
		return s.local, func() {}, nil
	}
	id, err := json.Marshal(r)
	if err != nil {
		return nil, nil, fmt.Errorf("naming the Redis connection: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[string(id)]
	if c == nil {
		conn, err := redis.Open(s.redisConfig(r), s.redis, s.cfg.Logger)
		if err != nil {
			return nil, nil, fmt.Errorf("redis: %w", err)
		}
		c = &sharedConn{conn: conn}
		s.conns[string(id)] = c
	}
	c.users++
	return limitredis.New(c.conn), sync.OnceFunc(func() { s.releaseConn(string(id)) }), nil
}

// releaseConn closes the connection a while after its last user left, unless one has come meanwhile.
func (s *Shared) releaseConn(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[id].users--; s.conns[id].users > 0 {
		return
	}
	time.AfterFunc(closeDelay, func() { s.closeIdle(id) })
}

func (s *Shared) closeIdle(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[id]
	if c == nil || c.users > 0 {
		return
	}
	delete(s.conns, id)
	if err := c.conn.Close(); err != nil {
		s.cfg.Logger.Warn("closing the Redis connection", "error", err)
	}
}

func (s *Shared) redisConfig(r *compiled.Redis) redis.Config {
	c := redis.Config{
		Mode: redis.Mode(r.Mode), Addresses: r.Addresses, MasterName: r.MasterName, Database: r.Database, Username: r.Username,
		Password: s.secret(r.Password), SentinelPassword: s.secret(r.SentinelPassword), Timeout: r.Timeout.Std(),
	}
	if r.TLS != nil {
		c.TLS = &redis.TLSConfig{ServerName: r.TLS.ServerName, CABundle: []byte(r.TLS.CABundle)}
	}
	return c
}
