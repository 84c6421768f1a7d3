package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/authn"
	"github.com/posterndev/postern/sidecar/jwks"
	"github.com/posterndev/postern/sidecar/ratelimit"
	limitredis "github.com/posterndev/postern/sidecar/ratelimit/redis"
	"github.com/posterndev/postern/sidecar/revocation"
	revocationredis "github.com/posterndev/postern/sidecar/revocation/redis"
	"github.com/posterndev/postern/sidecar/secret"
	"github.com/posterndev/postern/sidecar/session"
	sessionredis "github.com/posterndev/postern/sidecar/session/redis"
	"github.com/posterndev/postern/sidecar/state/redis"
	"github.com/posterndev/postern/sidecar/token/backchannel"
	tokenredis "github.com/posterndev/postern/sidecar/token/redis"
	"github.com/posterndev/postern/sidecar/vault"
)

// taker takes what one document needs from Shared, and remembers how to give it back.
type taker struct {
	*Shared
	policy *compiled.Policy
	// user is whom the taker works for.
	user user
	// closers give back; they are run by whoever the taker works for.
	closers []func()
	// conn is nil where the policy names no Redis.
	conn *redis.Conn
}

// newTaker takes the connection to Redis, which the stores share, and the client of Vault, so that they count as what the
// policy in force depends on. A deleted policy needs nothing.
func (s *Shared) newTaker(p *compiled.Policy) (t *taker, err error) {
	t = &taker{Shared: s, policy: p}
	if p.Redis != nil && !p.Deleted {
		if t.conn, err = t.takeConn(); err != nil {
			return nil, err
		}
	}
	if p.UsesVault() && !p.Deleted {
		if _, err = t.vault(); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// close gives back all that was taken, the last first.
func (t *taker) close() {
	for i := len(t.closers) - 1; i >= 0; i-- {
		t.closers[i]()
	}
	t.closers = nil
}

func (t *taker) onClose(release func()) { t.closers = append(t.closers, release) }

// named tells shared values apart by what they are made of.
func named(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming a shared value: %w", err)
	}
	return string(b), nil
}

// scope is what sessions, signing keys and limits belong to.
func (t *taker) scope() string { return t.policy.Namespace + "/" + t.policy.Name }

// vault is the client of the policy's Vault.
func (t *taker) vault() (*vault.Client, error) {
	v := t.policy.Vault
	if v == nil {
		return nil, fmt.Errorf("a secret is in Vault, and the document names none")
	}
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	client, release, err := t.vaults.acquire(name, t.user, func() (*vault.Client, func(), error) { return t.openVault(v) })
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return client, nil
}

func (s *Shared) openVault(v *compiled.Vault) (*vault.Client, func(), error) {
	client, err := vault.New(vault.Config{
		Address: v.Address, Namespace: v.Namespace, CABundle: []byte(v.CABundle), Auth: s.vaultAuth(v), Timeout: v.Timeout.Std(),
		PollInterval: v.PollInterval.Std(), MaxStale: v.MaxStale.Std(), Logger: s.cfg.Logger, Metrics: s.metrics.vault,
	})
	if err != nil {
		return nil, nil, err
	}
	return client, client.Close, nil
}

func (s *Shared) vaultAuth(v *compiled.Vault) vault.Auth {
	switch {
	case v.Kubernetes != nil:
		return vault.Kubernetes{Mount: v.Kubernetes.Mount, Role: v.Kubernetes.Role, TokenFile: s.cfg.VaultTokenFile}
	case v.AppRole != nil:
		a := vault.AppRole{Mount: v.AppRole.Mount, RoleID: v.AppRole.RoleID}
		if id := v.AppRole.SecretID; id != nil {
			a.SecretID = s.mounted(id)
		}
		return a
	}
	return vault.TokenFile(v.TokenFile)
}

// mounted is a key of a Kubernetes Secret.
func (s *Shared) mounted(ref *compiled.SecretRef) secret.File {
	return secret.File(filepath.Join(s.cfg.SecretsDir, ref.Name, ref.Key))
}

// secret is where ref's value comes from; nil for nil.
func (t *taker) secret(ref *compiled.SecretRef) (secret.Source, error) {
	switch {
	case ref == nil:
		return nil, nil
	case ref.Name != "":
		return t.mounted(ref), nil
	}
	return t.vaultSecret(ref)
}

func (t *taker) vaultSecret(ref *compiled.SecretRef) (*vault.Secret, error) {
	client, err := t.vault()
	if err != nil {
		return nil, err
	}
	value, release, err := client.Secret(vault.Ref{Path: ref.VaultPath, Key: ref.Key, Version: ref.VaultVersion})
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return value, nil
}

// nested is a taker for something shared that takes on its own behalf: what it takes lives as long as that.
func (t *taker) nested() *taker {
	return &taker{Shared: t.Shared, policy: t.policy, conn: t.conn, user: byShared}
}

func (t *taker) takeConn() (*redis.Conn, error) {
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
func (t *taker) vaultOfRedis() *compiled.Vault {
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

func (t *taker) openConn() (*redis.Conn, func(), error) {
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

func (t *taker) redisConfig(r *compiled.Redis) (c redis.Config, err error) {
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

// providerKeys are the keys of an outside provider.
func (t *taker) providerKeys(p *compiled.Provider) (authn.Keys, error) {
	spec := jwks.Spec{
		Provider: p.Name, Algorithms: p.Algorithms, URI: p.Keys.URI, RefreshInterval: p.Keys.RefreshInterval.Std(),
		MaxStale: p.Keys.MaxStale.Std(), CABundle: []byte(p.Keys.CABundle), Inline: p.Keys.Inline,
	}
	if ref := p.Keys.Secret; ref != nil {
		var err error
		if spec.Secret, err = t.secret(ref); err != nil {
			return nil, err
		}
		spec.SecretName = ref.Name + "/" + ref.Key
		if ref.VaultPath != "" {
			if spec.SecretName, err = named(ref, t.policy.Vault); err != nil {
				return nil, err
			}
		}
	}
	source, release, err := t.keys.Acquire(spec)
	if err != nil {
		return nil, err
	}
	t.onClose(release)
	return source, nil
}

func (t *taker) counters() ratelimit.Store {
	if t.conn == nil {
		return t.limits
	}
	return limitredis.New(t.conn)
}

func (t *taker) sessionStore() session.Store {
	if t.conn == nil {
		return t.sessions
	}
	return sessionredis.New(t.conn, t.scope())
}

func (t *taker) replays() backchannel.Replay {
	if t.conn == nil {
		return t.replay
	}
	return tokenredis.New(t.conn, t.scope())
}

// revocations is a store with its feed. A namespace is what shares them: whoever may write policies there may revoke what they
// accept, and nothing of any other namespace.
func (t *taker) revocations() revocations {
	if t.conn == nil {
		return t.revoked
	}
	return revocationredis.New(t.conn, t.policy.Namespace)
}

type revocations interface {
	revocation.Store
	revocation.Feed
}

// indexPatience is for how long a document waits for what is revoked, so that a sidecar that starts beside a working Redis
// knows it before the first request.
const indexPatience = 2 * time.Second

func (t *taker) index() (*revocation.Index, error) {
	staleness := followed(t.policy).MaxStaleness.Std()
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
			if own.conn, err = own.takeConn(); err != nil {
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
	index.Hasten(staleness)
	await(index, t.cfg.Logger)
	return index, nil
}

func await(index *revocation.Index, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), indexPatience)
	defer cancel()
	select {
	case <-index.Ready():
	case <-ctx.Done():
		log.Warn("the revocations cannot be loaded yet; revocation.onFailure decides until they are")
	}
}
