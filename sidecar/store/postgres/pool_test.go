package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/store/breaker"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/test/servertest"
)

func TestCopy(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	if err := h.copy(t.Context(), 2, 3, 4); err != nil {
		t.Fatal(err)
	}
	var sum int
	err := h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT sum(n) FROM kept WHERE n > $1", 1).Scan(&sum)
	})
	if err != nil || sum != 9 {
		t.Errorf("the sum is %d, %v", sum, err)
	}
}

// TestBouncer shares one connection to the server between two pools, so that each transaction may be on another one.
func TestBouncer(t *testing.T) {
	t.Parallel()
	user, password := shared.User(t)
	bouncer := postgrestest.StartBouncer(t, shared, [2]string{user, password})
	through := func(c *Config) {
		c.Address, c.Credentials = bouncer.Addr, &account{user: user, password: password}
	}
	first, second := up(t, shared, through), up(t, shared, through)
	for range 20 {
		for _, h := range []*harness{first, second} {
			err := h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
				return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
					if _, err := tx.CopyFrom(ctx, pgx.Identifier{"kept"}, []string{"n"}, pgx.CopyFromRows([][]any{{int64(5)}})); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "INSERT INTO kept VALUES ($1) ON CONFLICT DO NOTHING", int64(6))
					return err
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fail, heal func(*testing.T, *postgrestest.Server, *servertest.Link)
	}{
		"stopped": {
			fail: func(_ *testing.T, s *postgrestest.Server, _ *servertest.Link) { s.Stop() },
			heal: func(t *testing.T, s *postgrestest.Server, _ *servertest.Link) { s.Restart(t) },
		},
		"hanging": {
			fail: func(t *testing.T, s *postgrestest.Server, _ *servertest.Link) { s.Pause(t) },
			heal: func(t *testing.T, s *postgrestest.Server, _ *servertest.Link) { s.Resume(t) },
		},
		"cut off": {
			fail: func(_ *testing.T, _ *postgrestest.Server, l *servertest.Link) { l.Cut() },
			heal: func(_ *testing.T, _ *postgrestest.Server, l *servertest.Link) { l.Mend() },
		},
		"read-only": {
			fail: func(t *testing.T, s *postgrestest.Server, _ *servertest.Link) { setReadOnly(t, s, "on") },
			heal: func(t *testing.T, s *postgrestest.Server, _ *servertest.Link) { setReadOnly(t, s, "off") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := postgrestest.Start(t, postgrestest.Options{})
			link := servertest.NewLink(t, s.Addr)
			h := up(t, s, func(c *Config) { c.Address, c.ConnectTimeout, c.Timeout = link.Addr, 2*time.Second, 2*time.Second })
			for range 2 {
				tt.fail(t, s, link)
				h.awaitOpen(t)
				tt.heal(t, s, link)
				h.awaitUp(t)
			}
		})
	}
}

func setReadOnly(t *testing.T, s *postgrestest.Server, value string) {
	t.Helper()
	s.Do(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = "+value, "SELECT pg_reload_conf()")
}

// awaitOpen runs requests until the breaker opens.
func (h *harness) awaitOpen(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "the breaker to open", func() bool {
		err := h.copy(t.Context(), 1)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("COPY = %v; want ErrUnavailable", err)
		}
		return errors.Is(err, errOpen)
	})
	if got := h.Status(); got.Up || !errors.Is(got.Err, ErrUnavailable) {
		t.Errorf("Status = %+v while the breaker is open", got)
	}
	if h.gauge(t, "postern_database_up") != 0 || h.count("open") == 0 || h.count("unavailable") == 0 {
		t.Errorf("up %v, %v requests not sent, %v unavailable", h.gauge(t, "postern_database_up"), h.count("open"), h.count("unavailable"))
	}
}

func TestStartsWithoutServer(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t, postgrestest.Options{})
	link := servertest.NewLink(t, s.Addr)
	link.Cut()
	h := newHarness(t, s, func(c *Config) { c.Address = link.Addr })
	h.awaitOpen(t)
	link.Mend()
	h.awaitUp(t)
}

// TestRefusalsAreNoOutage: a statement that PostgreSQL refuses, or that cannot be sent, says nothing about the server.
func TestRefusalsAreNoOutage(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	tests := map[string]func(context.Context, *pgx.Conn) error{
		"no permission": func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "UPDATE kept SET n = 1")
			return err
		},
		"a value that cannot be encoded": func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{"kept"}, []string{"n"}, pgx.CopyFromRows([][]any{{"no number"}}))
			return err
		},
		"an error of the caller": func(context.Context, *pgx.Conn) error { return errors.New("own") },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			before := h.count("refused")
			for range breaker.Threshold + 1 {
				if err := h.Do(t.Context(), f); err == nil || errors.Is(err, ErrUnavailable) {
					t.Fatalf("err = %v", err)
				}
			}
			if got := h.count("refused") - before; got != breaker.Threshold+1 {
				t.Errorf("%v refused", got)
			}
			if err := h.copy(t.Context(), 1); err != nil {
				t.Errorf("a good statement after it = %v", err)
			}
		})
	}
}

func TestCanceledCallerIsNoOutage(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	for range breaker.Threshold + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		err := h.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			cancel()
			_, err := conn.Exec(ctx, "SELECT pg_sleep(60)")
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("err = %v", err)
		}
	}
	if h.breaker.Open() || h.count("canceled") != breaker.Threshold+1 {
		t.Errorf("open %v, %v canceled", h.breaker.Open(), h.count("canceled"))
	}
}

// TestBusyIsNoOutage: long requests in all connections say nothing about the server.
func TestBusyIsNoOutage(t *testing.T) {
	t.Parallel()
	h := up(t, shared, func(c *Config) { c.MaxConns, c.Timeout = 1, 300*time.Millisecond })
	held, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Do(t.Context(), func(context.Context, *pgx.Conn) error {
			close(held)
			for h.count("busy") <= breaker.Threshold {
				time.Sleep(time.Millisecond)
			}
			return nil
		})
	}()
	<-held
	for h.count("busy") <= breaker.Threshold {
		if err := h.copy(t.Context(), 1); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "all 1 connections are in use") {
			t.Fatalf("err = %v", err)
		}
	}
	<-done
	if h.breaker.Open() || !h.Status().Up {
		t.Errorf("open %v, status %+v", h.breaker.Open(), h.Status())
	}
}

func TestNoRowsIsAnAnswer(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	err := h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		var n int
		return conn.QueryRow(ctx, "SELECT n FROM kept WHERE n = 99").Scan(&n)
	})
	if !errors.Is(err, pgx.ErrNoRows) || !h.Status().Up {
		t.Errorf("err = %v, status %+v", err, h.Status())
	}
}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		err   error
		alive bool
		want  outcome
	}{
		"no error":                       {want: answered},
		"standby":                        {err: &pgconn.PgError{Code: "25006"}, alive: true, want: readOnly},
		"shutting down":                  {err: &pgconn.PgError{Code: "57P01"}, want: unavailable},
		"wrong password":                 {err: &pgconn.PgError{Code: "28P01"}, want: unavailable},
		"disk full":                      {err: &pgconn.PgError{Code: "53100"}, alive: true, want: unavailable},
		"too many connections":           {err: &pgconn.PgError{Code: "53300"}, want: unavailable},
		"no such database":               {err: &pgconn.PgError{Code: "3D000"}, want: unavailable},
		"PgBouncer has no server":        {err: &pgconn.PgError{Code: "08P01"}, want: unavailable},
		"no permission":                  {err: &pgconn.PgError{Code: "42501"}, alive: true, want: refused},
		"deadlock":                       {err: &pgconn.PgError{Code: "40P01"}, alive: true, want: refused},
		"lost connection":                {err: &net.OpError{Op: "read", Err: errors.New("reset")}, want: unavailable},
		"timeout":                        {err: context.DeadlineExceeded, alive: true, want: unavailable},
		"canceled":                       {err: context.Canceled, want: gone},
		"error of the caller":            {err: errors.New("own"), alive: true, want: refused},
		"error of the caller, lost conn": {err: errors.New("own"), want: unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := classify(tt.err, tt.alive); got != tt.want {
				t.Errorf("classify(%v) = %d; want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	problems, err := testutil.GatherAndLint(h.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "postern_database_") {
			t.Errorf("metric %s", f.GetName())
		}
		if f.GetName() == "postern_database_request_duration_seconds" && f.GetMetric()[0].GetHistogram().Schema == nil {
			t.Error("the histogram is not native")
		}
	}
}
