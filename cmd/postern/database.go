package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
)

// databaseFlags choose the database of the audit trail.
type databaseFlags struct{ url string }

// databaseHelp is a part of the help of each command with databaseFlags.
const databaseHelp = "The database is that of --database-url or of the variables PGHOST, PGPORT, PGDATABASE and PGUSER, as for psql. The password\n" +
	"comes from PGPASSWORD or from a file (PGPASSFILE, ~/.pgpass), never from an argument, which other users of the machine can see.\n" +
	"Without sslmode in the URL or PGSSLMODE, TLS is required and the server's name is verified; PGSSLROOTCERT names its authority."

func (o *databaseFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.url, "database-url", "", "the database, as postgresql://user@host:5432/postern, without a password (default: the PG variables)")
}

// urlKeys are the settings that --database-url may have. A password is not among them.
var urlKeys = []string{"user", "host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "connect_timeout",
	"application_name", "target_session_attrs", "channel_binding"}

// databaseTimeout bounds a connection, unless the user chooses another time.
const databaseTimeout = 10 * time.Second

// config returns the settings of the connection.
func (o *databaseFlags) config() (*pgx.ConnConfig, error) {
	if os.Getenv("PGSSLMODE") == "" {
		if err := os.Setenv("PGSSLMODE", "verify-full"); err != nil {
			return nil, err
		}
	}
	config, err := pgx.ParseConfigWithOptions(o.url, pgx.ParseConfigOptions{
		ParseConfigOptions: pgconn.ParseConfigOptions{ConnStringAllowedKeys: urlKeys},
	})
	if err != nil && o.url != "" { // the cause may quote a password
		return nil, errors.New("--database-url or a PG variable is invalid: write postgresql://user@host:5432/postern?sslrootcert=ca.crt without a password, " +
			"and set PGPASSWORD or PGPASSFILE")
	}
	if err != nil {
		return nil, errors.New("a PG variable is invalid; see the environment variables of libpq, such as PGHOST and PGSSLMODE")
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // for PgBouncer in transaction mode
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = databaseTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "postern-cli"
	}
	return config, nil
}

// explained adds to an error of the database what to do about it.
func explained(err error) error {
	var server *pgconn.PgError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &server) && server.Code == "42P01": // undefined_table
		return fmt.Errorf("%w; the database has no audit trail: run postern audit migrate first, or choose another database", err)
	case errors.As(err, &server) && server.Code == "42501": // insufficient_privilege
		return fmt.Errorf("%w; to read the trail, the user must be a member of postern_audit_reader, and to migrate and maintain it, of postern_audit_owner", err)
	case errors.As(err, &authority):
		return fmt.Errorf("%w; write the file of the authority that signed the server's certificate into PGSSLROOTCERT, or as sslrootcert into --database-url", err)
	}
	return err
}

// connect returns a connection, which the caller closes.
func (o *databaseFlags) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return conn, nil
}
