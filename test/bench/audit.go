package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// auditRate is the rate of events that one pod must stand, per second.
const auditRate = 5000

// The user of the recorders, and the database.
const auditUser, auditPassword, auditDatabase = "recorder", "recorder-s3cret", "postern"

// recording is what recorders of one kind have cost.
type recording struct {
	name string
	args []string
	cpu  []time.Duration // for each event
	rate []float64       // events per second
}

// audit measures what an audit event costs on its way to PostgreSQL, and whether any is lost at auditRate.
func (b *bench) audit(ctx context.Context) error {
	server, err := postgrestest.New(postgrestest.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	if err := prepareAudit(ctx, server); err != nil {
		return fmt.Errorf("preparing the database of the audit trail: %w", err)
	}
	recordings := []*recording{
		{name: "audit trail: chained, signed, COPY", args: []string{"-mode", "trail"}},
		{name: "the same at " + strconv.Itoa(auditRate) + " events/s", args: []string{"-mode", "trail", "-rate", strconv.Itoa(auditRate)}},
		{name: "peer: an INSERT for each event", args: []string{"-mode", "insert"}},
	}
	for i := range b.repetitions + 1 {
		fmt.Fprintf(b.progress, "audit: repetition %d of %d\n", i, b.repetitions)
		for _, r := range recordings {
			if err := b.record(ctx, server, r, i > 0); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	return b.printAudit(recordings)
}

// prepareAudit makes the roles, the tables and the user.
func prepareAudit(ctx context.Context, server *postgrestest.Server) error {
	for _, s := range []struct{ database, text string }{
		{"postgres", "CREATE DATABASE " + auditDatabase}, {auditDatabase, auditsql.Roles},
		{auditDatabase, "CREATE ROLE " + auditUser + " LOGIN PASSWORD '" + auditPassword + "' IN ROLE " + auditsql.Writer},
	} {
		if err := asAdministrator(ctx, server, s.database, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, s.text, pgx.QueryExecModeSimpleProtocol)
			return err
		}); err != nil {
			return err
		}
	}
	config, err := server.Config(postgrestest.Superuser, server.Password, auditDatabase)
	if err != nil {
		return err
	}
	_, err = auditsql.Migrate(ctx, config, slog.New(slog.DiscardHandler))
	return err
}

func asAdministrator(ctx context.Context, server *postgrestest.Server, database string, f func(*pgx.Conn) error) error {
	config, err := server.Config(postgrestest.Superuser, server.Password, database)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	return f(conn)
}

// record runs a recorder on empty tables, and checks that every event is a row.
func (b *bench) record(ctx context.Context, server *postgrestest.Server, r *recording, counts bool) error {
	empty := func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "TRUNCATE audit_logs, audit_checkpoints", pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := asAdministrator(ctx, server, auditDatabase, empty); err != nil {
		return err
	}
	args := append([]string{"-address", server.Addr, "-database", auditDatabase, "-user", auditUser, "-events", strconv.Itoa(b.events)}, r.args...)
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "recorder"), args...)
	cmd.Env, cmd.SysProcAttr, cmd.Stderr = append(os.Environ(), "PASSWORD="+auditPassword), attributes(), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	var result struct{ Seconds, CPU float64 }
	if err := json.Unmarshal(out, &result); err != nil {
		return fmt.Errorf("reading what the recorder says: %w", err)
	}
	if counts {
		r.cpu = append(r.cpu, time.Duration(result.CPU*1e9/float64(b.events)))
		r.rate = append(r.rate, float64(b.events)/result.Seconds)
	}
	return asAdministrator(ctx, server, auditDatabase, func(conn *pgx.Conn) error {
		var rows int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM audit_logs WHERE action = 'login'").Scan(&rows); err != nil {
			return fmt.Errorf("counting rows: %w", err)
		}
		if rows != b.events {
			return fmt.Errorf("%d events are %d rows", b.events, rows)
		}
		return nil
	})
}

func (b *bench) printAudit(recordings []*recording) error {
	peer := recordings[len(recordings)-1]
	rows := [][]string{{"", "events", "events/s", "this/peer", "µs CPU/event", "this/peer"}}
	for _, r := range recordings {
		rows = append(rows, []string{
			r.name, fmt.Sprint(b.events * len(r.cpu)), fmt.Sprintf("%.0f", median(r.rate)), ratio(median(r.rate), median(peer.rate)),
			microseconds(median(r.cpu)), ratio(median(r.cpu), median(peer.cpu)),
		})
	}
	return b.publish("audit", "Audit events into PostgreSQL; every event is a row", rows)
}
