package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// databaseVariable has the URL of the database of the audit trail, as postgres://reader@postgres.platform.svc/postern?sslmode=verify-full.
const databaseVariable = "POSTERN_AUDIT_DATABASE"

// auditSource is where a command reads an audit trail: a database, or lines of JSON.
type auditSource struct {
	file, url string
}

func (s *auditSource) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.file, "file", "f", "", "lines of JSON, from an export or the log of sidecars; - is the standard input")
	f.StringVar(&s.url, "database", "", "URL of the database, without a password (default: $"+databaseVariable+"; libpq's variables such as\n"+
		"PGHOST, PGUSER and PGPASSWORD, and ~/.pgpass, complete it)")
}

const auditSourceHelp = "It reads the tables that --database or $" + databaseVariable + " names, for which the role postern_audit_reader is enough, or lines of\n" +
	"JSON with --file. Nothing is kept in memory, so that the trail may be of any size."

// connect opens the database.
func (s *auditSource) connect(ctx context.Context) (*pgx.Conn, error) {
	url := s.url
	if url == "" {
		url = os.Getenv(databaseVariable)
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read: write postgres://user@host/database") // err may have a password
	}
	if s.url != "" && config.Password != "" && hasPassword(s.url) {
		return nil, errors.New("--database has a password, which other users of the machine can see: use PGPASSWORD, ~/.pgpass or $" + databaseVariable)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database of the audit trail (--database or $%s): %w", databaseVariable, err)
	}
	return conn, nil
}

// hasPassword reports whether a URL or a connection string has a password.
func hasPassword(url string) bool {
	without, err := pgx.ParseConfig(url)
	if err != nil {
		return true
	}
	plain, err := pgx.ParseConfig("")
	return err != nil || without.Password != plain.Password
}

// each calls f with the rows of the trail: in their chain if filter is nil, else the selected ones by time, and at most limit of the latest.
func (s *auditSource) each(cmd *cobra.Command, filter *rows.Filter, limit int, f func(rows.Row) error) error {
	if s.file != "" {
		return s.eachLine(cmd, filter, limit, f)
	}
	conn, err := s.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(cmd.Context()))
	if filter == nil {
		return rows.Chained(cmd.Context(), conn, f)
	}
	return rows.Latest(cmd.Context(), conn, *filter, limit, f)
}

func (s *auditSource) eachLine(cmd *cobra.Command, filter *rows.Filter, limit int, f func(rows.Row) error) error {
	var in io.Reader = cmd.InOrStdin()
	if s.file != "-" {
		file, err := os.Open(s.file)
		if err != nil {
			return fmt.Errorf("reading the audit trail: %w", err)
		}
		defer file.Close()
		in = file
	}
	var latest []rows.Row
	skipped, err := logsink.Read(in, func(i spool.Item) error {
		if filter == nil {
			return f(rows.Row{Item: i})
		}
		r, err := record.Decode(i.Payload)
		if i.Kind != spool.Record || err != nil || !filter.Match(r) {
			return nil
		}
		if limit == 0 {
			return f(rows.Row{Item: i})
		}
		if latest = append(latest, rows.Row{Item: i}); len(latest) > limit {
			latest = latest[1:]
		}
		return nil
	})
	for _, row := range latest {
		if err == nil {
			err = f(row)
		}
	}
	if err == nil && skipped > 0 {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "note: %d lines are neither records nor checkpoints\n", skipped)
	}
	return err
}
