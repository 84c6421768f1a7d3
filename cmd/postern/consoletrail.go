//go:build !nocluster

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/cmd/postern/internal/console"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// maxSearches bounds the searches that run at the same time, and so the connections to the database.
const maxSearches = 2

// consoleTrail reads the audit trail for the console, with a connection for each search.
type consoleTrail struct {
	database *databaseFlags
	// keys is nil if the person did not give the master key.
	keys   *personal.Keys
	places chan struct{}
}

// Search implements console.Trail.
func (t *consoleTrail) Search(ctx context.Context, s console.Search) ([]console.Found, error) {
	filter, err := t.filter(s)
	if err != nil {
		return nil, err
	}
	select {
	case t.places <- struct{}{}:
		defer func() { <-t.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := t.database.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	return t.read(ctx, conn, filter, s.Limit)
}

func (t *consoleTrail) filter(s console.Search) (rows.Filter, error) {
	f := rows.Filter{Action: s.Action, Policy: s.Policy, Outcome: s.Outcome}
	now := time.Now()
	var err error
	if f.From, err = searchTime(s.Since, now); err != nil {
		return f, fmt.Errorf("since is %w", err)
	}
	if f.To, err = searchTime(s.Until, now); err != nil {
		return f, fmt.Errorf("until is %w", err)
	}
	if s.Subject != "" {
		f.Subjects = subjectNames([]string{s.Subject}, t.keys)
	}
	return f, nil
}

func (t *consoleTrail) read(ctx context.Context, conn *pgx.Conn, filter rows.Filter, limit int) ([]console.Found, error) {
	var out []console.Found
	err := rows.Latest(ctx, conn, filter, limit, func(row rows.Row) error {
		if row.Kind != spool.Record {
			return nil
		}
		r, err := record.Decode(row.Payload)
		if err == nil {
			out = append(out, console.Found{Record: r, Altered: row.Altered})
		}
		return err
	})
	if err != nil || t.keys == nil {
		return out, err
	}
	find := rows.Keys(ctx, conn) // the connection is free now
	for _, f := range out {
		if _, err := personal.Reveal(f.Record, t.keys, find); err != nil {
			return nil, err
		}
	}
	return out, nil
}
