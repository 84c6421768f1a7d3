package resources

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/ocsf"
	"github.com/posterndev/postern/sidecar/audit/otlpsink"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/store/postgres"
)

// trailCloseTime bounds how long the end of a trail waits for its sinks.
const trailCloseTime = 5 * time.Second

// Trail returns the policy's audit trail; nil for none. Documents with the same settings share it, so that a reload does not begin another
// chain.
func (a *Acquirer) Trail() (*trail.Trail, error) {
	p := a.policy
	if p.Audit == nil || p.Deleted {
		return nil, nil
	}
	settings := *p.Audit
	settings.Lifecycle, settings.OnFailure, settings.Mode = nil, "", "" // they are those of stages
	name, err := named(a.scope(), settings, p.AuditOptions, p.Database, p.Telemetry, p.Vault, a.connName, p.Tokens != nil)
	if err != nil {
		return nil, err
	}
	t, release, err := a.shared.trails.Acquire(name, a.user, a.openTrail)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	a.onClose(release)
	return t, nil
}

func (a *Acquirer) openTrail() (*trail.Trail, func(), error) {
	own := a.nested()
	c, err := own.trailConfig()
	var t *trail.Trail
	c.Heir = func() *trail.Trail {
		for _, other := range a.shared.trails.InUse() {
			if other != t && other.Policy() == c.Policy {
				return other
			}
		}
		return nil
	}
	if err == nil {
		t, err = trail.Open(c)
	}
	if err != nil {
		own.Close()
		return nil, nil, err
	}
	return t, func() {
		ctx, cancel := context.WithTimeout(context.Background(), trailCloseTime)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			a.shared.cfg.Logger.Error("closing the audit trail", "error", err)
		}
		own.Close()
	}, nil
}

func (a *Acquirer) trailConfig() (c trail.Config, err error) {
	audit := a.policy.Audit
	c = trail.Config{
		Policy: a.scope(), Pod: a.shared.cfg.Pod, CheckpointInterval: a.policy.AuditOptions.CheckpointInterval.Std(), Metrics: a.shared.metrics.audit,
		RetainDays: audit.RetainDays, Logger: a.shared.cfg.Logger, Now: a.shared.cfg.Now,
		Classifier: record.Classifier{KeyIssuers: []string{compiled.APIKeysIssuer, compiled.BasicUsersIssuer}, IssuesTokens: a.policy.Tokens != nil},
	}
	for _, e := range audit.Events {
		c.Categories = append(c.Categories, record.Category(e))
	}
	if c.Keys, err = a.trailKeys(); err != nil {
		return c, err
	}
	if c.Sinks, err = a.trailSinks(); err != nil {
		return c, err
	}
	return c, a.openSpool(&c)
}

// openSpool opens the spool last, because nothing closes it if another part fails.
func (a *Acquirer) openSpool(c *trail.Config) error {
	options := a.policy.AuditOptions
	if !options.SpoolVolume {
		c.Spool = spool.NewMemory(options.SpoolBytes)
		return nil
	}
	if a.shared.cfg.SpoolDir == "" {
		return errors.New("the spool is on a volume, and this process has none")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("naming the spool: %w", err)
	}
	own, left, err := spool.OpenDirectory(filepath.Join(a.shared.cfg.SpoolDir, a.policy.Name), id.String(), options.SpoolBytes)
	if err != nil {
		return err
	}
	c.Spool = own
	for _, l := range left {
		c.Left = append(c.Left, l)
	}
	return nil
}

func (a *Acquirer) trailSinks() (sinks []trail.Sink, err error) {
	audit := a.policy.Audit
	for _, name := range audit.Sinks {
		var s trail.Sink
		switch name {
		case compiled.AuditLog:
			s = a.logSink()
		case compiled.AuditPostgreSQL:
			s, err = a.databaseSink()
		case compiled.AuditOTLP:
			s, err = a.otlpSink()
		default:
			err = fmt.Errorf("this build has no sink %s", name)
		}
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", name, err)
		}
		sinks = append(sinks, s)
	}
	return sinks, nil
}

func (a *Acquirer) logSink() trail.Sink {
	s := logsink.New(a.shared.cfg.AuditOutput, time.Now)
	if a.policy.Audit.Format == compiled.AuditFormatOCSF {
		return s.WithForm(ocsf.Encode)
	}
	return s
}

func (a *Acquirer) otlpSink() (trail.Sink, error) {
	logs, err := a.Logs()
	if err != nil {
		return nil, err
	}
	c := otlpsink.Config{Exporter: logs, OnRefused: a.refused(otlpsink.Name), Now: time.Now}
	if a.policy.Audit.Format == compiled.AuditFormatOCSF {
		c.Form = ocsf.Encode
	}
	return otlpsink.New(c), nil
}

// refused returns what counts and logs the records that a sink refuses for what is in them.
func (a *Acquirer) refused(sink string) func(n int, reason string) {
	policy, logger, metrics := a.scope(), a.shared.cfg.Logger, a.shared.metrics.audit
	return func(n int, reason string) {
		metrics.Refused(sink, n)
		logger.Error("audit sink refuses records, which it will not have", "policy", policy, "sink", sink, "records", n, "reason", reason)
	}
}

// databaseSink returns the sink PostgreSQL, or the stream on the way to it.
func (a *Acquirer) databaseSink() (trail.Sink, error) {
	d := a.policy.Database
	switch {
	case d == nil:
		return nil, errors.New("the policy names no database")
	case d.Via == compiled.ViaRedisStream && a.conn == nil:
		return nil, errors.New("the policy names no Redis for its stream")
	case d.Via == compiled.ViaRedisStream:
		return stream.New(stream.Config{Conn: a.conn, Namespace: a.policy.Namespace, RetainDays: a.policy.Audit.RetainDays})
	}
	pool, err := a.database(d)
	if err != nil {
		return nil, err
	}
	refused := a.refused(rows.Name)
	return rows.New(rows.Config{
		Database: pool, RetainDays: a.policy.Audit.RetainDays, OnRefused: func(_ spool.Item, err error) { refused(1, err.Error()) },
	}), nil
}

// database returns the connections to the database.
func (a *Acquirer) database(d *compiled.Database) (*postgres.Pool, error) {
	c := postgres.Config{Address: d.Address, Name: d.Name, TLS: postgres.Disable, MaxConns: d.MaxConnections}
	if d.TLS != nil {
		c.TLS, c.CABundle, c.ServerName = postgres.VerifyFull, []byte(d.TLS.CABundle), d.TLS.ServerName
	}
	var err error
	if c.Credentials, err = a.databaseCredentials(d); err != nil {
		return nil, err
	}
	pool, err := postgres.Open(c, a.shared.metrics.database, a.shared.cfg.Logger)
	if err != nil {
		return nil, err
	}
	a.onClose(pool.Close)
	return pool, nil
}

func (a *Acquirer) databaseCredentials(d *compiled.Database) (postgres.Credentials, error) {
	if d.VaultPath != "" {
		client, err := a.vault()
		if err != nil {
			return nil, err
		}
		account, release, err := client.Account(d.VaultPath)
		if err != nil {
			return nil, err
		}
		a.onClose(release)
		return account, nil
	}
	user, err := a.secret(d.User)
	if err != nil {
		return nil, err
	}
	password, err := a.secret(d.Password)
	if err != nil {
		return nil, err
	}
	return postgres.Login{UserSource: user, Password: password}, nil
}
