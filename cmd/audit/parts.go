package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/drain"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/store/postgres"
	"github.com/posterndev/postern/sidecar/store/redis"
)

const (
	// redisTimeout is the least timeout of Redis. The one of a class is for requests that wait, and a batch is larger than what they need.
	redisTimeout = 2 * time.Second
	// connections is the default number of connections to the database.
	connections = 2
	// batchTimeout bounds a transaction.
	batchTimeout = 30 * time.Second
)

// parts are the connections, and what uses them.
type parts struct {
	settings settings
	log      *slog.Logger
	vault    *vault.Client // nil without a Vault
	redis    *redis.Conn
	database *postgres.Pool
	drain    *drain.Drain
	closers  []func()
}

// open opens all parts. Redis, PostgreSQL and Vault may be unavailable. The caller calls close, also after an error.
func open(s settings, registry prometheus.Registerer, log *slog.Logger) (*parts, error) {
	p := &parts{settings: s, log: log}
	for _, step := range []func(prometheus.Registerer) error{p.openVault, p.openRedis, p.openDatabase, p.openDrain} {
		if err := step(registry); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *parts) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
}

func (p *parts) openVault(registry prometheus.Registerer) error {
	v := p.settings.vault
	if v == nil {
		return nil
	}
	metrics, err := vault.NewMetrics(registry)
	if err != nil {
		return err
	}
	auth, err := p.auth(v)
	if err != nil {
		return err
	}
	p.vault, err = vault.New(vault.Config{
		Address: v.Address, Namespace: v.Namespace, CABundle: []byte(v.CABundle), Auth: auth, Timeout: v.Timeout.Std(),
		PollInterval: v.PollInterval.Std(), MaxStale: v.MaxStale.Std(), Logger: p.log, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.vault.Close)
	return nil
}

func (p *parts) auth(v *compiled.Vault) (vault.Auth, error) {
	switch {
	case v.Kubernetes != nil:
		return vault.Kubernetes{Mount: v.Kubernetes.Mount, Role: v.Kubernetes.Role, TokenFile: p.settings.vaultToken}, nil
	case v.AppRole != nil:
		a := vault.AppRole{Mount: v.AppRole.Mount, RoleID: v.AppRole.RoleID}
		if id := v.AppRole.SecretID; id != nil {
			a.SecretID = p.mounted(id)
		}
		return a, nil
	case v.TokenFile != "":
		return vault.TokenFile(v.TokenFile), nil
	}
	return nil, errors.New("setting up Vault: one of kubernetes, appRole and tokenFile is required")
}

// mounted returns the file of a key of a Secret.
func (p *parts) mounted(ref *compiled.SecretRef) secret.File {
	return secret.File(filepath.Join(p.settings.secretsDir, ref.Name, ref.Key))
}

// secret returns the source of a value; nil for nil.
func (p *parts) secret(ref *compiled.SecretRef) (secret.Source, error) {
	switch {
	case ref == nil:
		return nil, nil
	case ref.Name != "":
		return p.mounted(ref), nil
	}
	value, release, err := p.vault.Secret(vault.Ref{Path: ref.VaultPath, Key: ref.Key, Version: ref.VaultVersion})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, release)
	return value, nil
}

func (p *parts) openRedis(registry prometheus.Registerer) error {
	metrics, err := redis.NewMetrics(registry)
	if err != nil {
		return err
	}
	r := p.settings.redis
	c := redis.Config{
		Mode: redis.Mode(r.Mode), Addresses: r.Addresses, MasterName: r.MasterName, Database: r.Database, Username: r.Username,
		Timeout: max(r.Timeout.Std(), redisTimeout), ProbeKey: drain.ProbeKey(),
	}
	if c.Password, err = p.secret(r.Password); err != nil {
		return err
	}
	if c.SentinelPassword, err = p.secret(r.SentinelPassword); err != nil {
		return err
	}
	if r.TLS != nil {
		c.TLS = &redis.TLSConfig{ServerName: r.TLS.ServerName, CABundle: []byte(r.TLS.CABundle)}
		if c.TLS.Certificate, err = p.secret(r.TLS.Certificate); err != nil {
			return err
		}
		if c.TLS.Key, err = p.secret(r.TLS.Key); err != nil {
			return err
		}
	}
	if p.redis, err = redis.Open(c, metrics, p.log); err != nil {
		return err
	}
	p.closers = append(p.closers, func() { _ = p.redis.Close() })
	return nil
}

func (p *parts) openDatabase(registry prometheus.Registerer) error {
	metrics, err := postgres.NewMetrics(registry)
	if err != nil {
		return err
	}
	c, err := p.databaseConfig()
	if err != nil {
		return err
	}
	if p.database, err = postgres.Open(c, metrics, p.log); err != nil {
		return err
	}
	p.closers = append(p.closers, p.database.Close)
	return nil
}

func (p *parts) databaseConfig() (c postgres.Config, err error) {
	d := &p.settings.database
	if d.MaxConnections == 0 {
		d.MaxConnections = connections
	}
	c = postgres.Config{Address: d.Address, Name: d.Name, TLS: postgres.Disable, MaxConns: d.MaxConnections, Timeout: batchTimeout}
	if d.TLS != nil {
		c.TLS, c.CABundle, c.ServerName = postgres.VerifyFull, []byte(d.TLS.CABundle), d.TLS.ServerName
	}
	c.Credentials, err = p.credentials()
	return c, err
}

func (p *parts) credentials() (postgres.Credentials, error) {
	d := &p.settings.database
	if d.VaultPath != "" {
		account, release, err := p.vault.Account(d.VaultPath)
		if err != nil {
			return nil, err
		}
		p.closers = append(p.closers, release)
		return account, nil
	}
	user, err := p.secret(d.User)
	if err != nil {
		return nil, err
	}
	password, err := p.secret(d.Password)
	if err != nil {
		return nil, err
	}
	return postgres.Login{UserSource: user, Password: password}, nil
}

func (p *parts) openDrain(registry prometheus.Registerer) error {
	metrics, err := drain.NewMetrics(registry)
	if err != nil {
		return err
	}
	p.drain, err = drain.New(drain.Config{
		Conn: p.redis, Database: p.database, Consumer: p.settings.name, Metrics: metrics, Logger: p.log, Writers: p.settings.database.MaxConnections,
	})
	return err
}

// unready returns why no records can be written at present; nil if they can.
func (p *parts) unready() error {
	if s := p.redis.Status(); !s.Up {
		return fmt.Errorf("redis: %w", s.Err)
	}
	if s := p.database.Status(); !s.Up {
		return fmt.Errorf("database: %w", s.Err)
	}
	return nil
}
