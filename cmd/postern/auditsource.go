package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// auditSource is where a command reads an audit trail: a database, or lines of JSON.
type auditSource struct {
	file     string
	database databaseFlags
	// bar shows how far reading is; nil for none.
	bar *progress
}

func (s *auditSource) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.file, "file", "f", "", "lines of JSON, from an export or the log of sidecars; - is the standard input")
	s.database.addFlags(cmd)
}

const auditSourceHelp = "It reads a database, for which the role postern_audit_reader is enough, or lines of JSON with --file. Nothing is kept in memory, so that\n" +
	"the trail may be of any size.\n\n" + databaseHelp

// connect opens the database.
func (s *auditSource) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := s.database.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the audit trail: %w; to read a file, write --file", err)
	}
	return conn, nil
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
	if s.bar != nil && s.bar.shows() {
		if n, err := rows.Estimate(cmd.Context(), conn); err == nil {
			s.bar.total = n
		}
	}
	if filter == nil {
		return rows.Chained(cmd.Context(), conn, f)
	}
	return rows.Latest(cmd.Context(), conn, *filter, limit, f)
}

func (s *auditSource) eachLine(cmd *cobra.Command, filter *rows.Filter, limit int, f func(rows.Row) error) error {
	in, end, err := openLines(cmd, s.file)
	if err != nil {
		return err
	}
	defer end()
	if s.bar != nil {
		in = s.bar.reader(in)
	}
	var latest []rows.Row
	others, err := logsink.Read(in, func(e logsink.Entry) error {
		if filter == nil {
			return f(rows.Row{Item: e.Item, Cut: e.Cut})
		}
		if e.Cut != nil || e.Kind != spool.Record {
			return nil
		}
		r, err := record.Decode(e.Payload)
		if err != nil || !filter.Match(r) {
			return nil
		}
		if limit == 0 {
			return f(rows.Row{Item: e.Item})
		}
		if latest = append(latest, rows.Row{Item: e.Item}); len(latest) > limit {
			latest = latest[1:]
		}
		return nil
	})
	for _, row := range latest {
		if err == nil {
			err = f(row)
		}
	}
	if err != nil {
		return err
	}
	if others.Incomplete {
		others.Lines--
		fmt.Fprintln(cmd.ErrOrStderr(), "note: the last line is incomplete: the file was cut there, or is still being written")
	}
	if others.Lines > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %d lines are neither records nor checkpoints\n", others.Lines)
	}
	return nil
}

// openLines opens a file; - is the standard input.
func openLines(cmd *cobra.Command, name string) (in io.Reader, end func(), err error) {
	if name == "-" {
		return cmd.InOrStdin(), func() {}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	return file, func() { _ = file.Close() }, nil
}
