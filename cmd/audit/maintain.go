package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/retention"
	"github.com/posterndev/postern/sidecar/store/postgres"
)

// envMaintenance is a maintenance as JSON; defaults if it is not set.
const envMaintenance = "POSTERN_AUDIT_MAINTENANCE"

// maintenance are the settings of retention.Maintain.
type maintenance struct {
	// Retentions are days that get partitions before they have records, and MonthsAhead months after the present one that do.
	Retentions  []int `json:"retentions,omitempty"`
	MonthsAhead int   `json:"monthsAhead,omitempty"`
}

// readMaintenance reads the settings of `audit maintain`: those of the database and of Vault are as in readSettings, and Redis is not used.
func readMaintenance(getenv func(string) string) (s settings, err error) {
	without := func(name string) string {
		if name == envRedis {
			return `{"mode": "Standalone"}`
		}
		return getenv(name)
	}
	if s, err = readSettings(without); err != nil {
		return s, err
	}
	if getenv(envMaintenance) != "" {
		err = decode(getenv, envMaintenance, &s.maintenance)
	}
	return s, err
}

// maintain maintains the trail once. If another process is at it, it does nothing.
func maintain(ctx context.Context, s settings, log *slog.Logger) error {
	p := &parts{settings: s, log: log}
	defer p.close()
	if err := p.openVault(prometheus.NewRegistry()); err != nil {
		return err
	}
	c, err := p.databaseConfig()
	if err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	done, err := retention.Maintain(ctx, conn, time.Now(), retention.Config{
		Pruner: retention.Tree{}, Retentions: s.maintenance.Retentions, Ahead: s.maintenance.MonthsAhead, Logger: log,
	})
	if errors.Is(err, retention.ErrBusy) {
		log.Info("another process maintains the audit trail")
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("the audit trail is maintained", "made", len(done.Made), "dropped", len(done.Dropped), "held", len(done.Held), "waiting", len(done.Waiting),
		"moved", done.Moved, "keys", done.Keys)
	return nil
}
