// Package auditsql is the schema of the audit trail in PostgreSQL: its migrations, its roles, and the statement with which Vault makes
// a writer. Commands of people and the maintenance link it; the sidecar only inserts.
package auditsql

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// The roles of Roles.
const (
	Owner  = "postern_audit_owner"
	Writer = "postern_audit_writer"
	Reader = "postern_audit_reader"
	Eraser = "postern_audit_eraser"
	Holder = "postern_audit_holder"
)

// Roles makes the roles. An administrator runs it once, before the first Migrate.
//
//go:embed roles.sql
var Roles string

// VaultWriter is the creation statement of a role of Vault's database engine whose accounts are writers.
//
//go:embed vault-writer.sql
var VaultWriter string

//go:embed migrations/*.sql
var migrations embed.FS

// versions is the table of the migrations that were run. lockID is the advisory lock of a run.
const (
	versions       = "audit_migrations"
	lockID   int64 = 0x706f7374_01
)

// The time to wait for another run, in seconds and attempts.
const lockPeriod, lockAttempts = 1, 300

// Migrate runs the migrations that the database does not have yet, each in a transaction, and returns their versions in order. It
// holds an advisory lock, so that several may be started at once. config is of a user who is a member of Owner, which will own the
// tables. The connection must not be through PgBouncer in transaction mode, because the lock belongs to a session.
func Migrate(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (applied []int64, err error) {
	db := open(config)
	defer db.Close()
	provider, err := newProvider(db, log)
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		if r.Error == nil {
			applied = append(applied, r.Source.Version)
		}
	}
	if err != nil {
		return applied, fmt.Errorf("migrating the audit trail: %w", err)
	}
	return applied, nil
}

// open returns connections that act as the owner, so that it owns what they make.
func open(config *pgx.ConnConfig) *sql.DB {
	config = config.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SET ROLE "+Owner); err != nil {
			return fmt.Errorf("becoming %s, which `postern audit roles` makes and the user must be a member of: %w", Owner, err)
		}
		_, err := conn.Exec(ctx, "SET search_path = public, pg_temp")
		return err
	}))
}

func newProvider(db *sql.DB, log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID), lock.WithLockTimeout(lockPeriod, lockAttempts))
	if err != nil {
		return nil, fmt.Errorf("making the lock of migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker),
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	return provider, nil
}
