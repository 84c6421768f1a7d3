package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
	"github.com/posterndev/postern/test/freeport"
)

// TestRun runs the command as the chart does: with Secrets in files, the users of docs/state.md and of the writer, and TLS to PostgreSQL.
func TestRun(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	statetest.Read(t).Grant(t, statetest.AuditWriter, server)
	postgres := postgrestest.Start(t, postgrestest.Options{TLS: true})
	db := auditsqltest.New(t, postgres)
	user, password := postgres.User(t, "postern_audit_writer")
	dir := t.TempDir()
	write(t, dir, "redis", "password", statetest.Password)
	write(t, dir, "db", "user", user)
	write(t, dir, "db", "password", password)
	port := freeport.Port(t)
	s, err := readSettings(environment(map[string]string{
		envRedis: fmt.Sprintf(`{"mode": "Standalone", "addresses": [%q], "username": %q, "password": {"name": "redis", "key": "password"}, "timeout": "100ms"}`, server.Addr, statetest.AuditWriter),
		envDatabase: fmt.Sprintf(`{"address": %q, "name": %q, "user": {"name": "db", "key": "user"}, "password": {"name": "db", "key": "password"}, "tls": {"caBundle": %q, "serverName": "localhost"}}`,
			postgres.Addr, db.Name, postgres.CABundle),
		"POSTERN_SECRETS_DIR": dir, envName: "audit-1", envListen: net.JoinHostPort("127.0.0.1", port),
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, s, slog.New(slog.DiscardHandler)) }()
	base := "http://127.0.0.1:" + port
	redistest.Eventually(t, "the command to be ready", func() bool { status, _ := get(base + "/readyz"); return status == http.StatusOK })
	client := server.Client()
	defer client.Close()
	add := func() {
		client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream.Key("shop"), Values: []any{"kind", "record", "retain", "400", "payload", payload(t)}})
	}
	rows := func() (n int) {
		conn := postgres.Connect(t, db.Name)
		defer conn.Close(context.Background())
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_logs WHERE retain_days = 400").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	add()
	redistest.Eventually(t, "the row", func() bool { return rows() == 1 })
	redistest.Eventually(t, "the metrics", func() bool {
		_, body := get(base + "/metrics")
		return strings.Contains(body, `postern_audit_stream_written_total{namespace="shop"} 1`) && strings.Contains(body, "postern_database_up 1") &&
			strings.Contains(body, `postern_audit_stream_lag_seconds{namespace="shop"} 0`)
	})
	postgres.Stop()
	add()
	redistest.Eventually(t, "the command to be unready", func() bool {
		status, body := get(base + "/readyz")
		return status == http.StatusServiceUnavailable && !strings.Contains(body, postgres.Addr)
	})
	if status, _ := get(base + "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz = %d while the database is away; a restart would not help", status)
	}
	stop() // with a batch in hand
	postgres.Restart(t)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := rows(); n != 2 {
		t.Errorf("%d rows after the end of the command; want 2", n)
	}
}

// TestRunRefuses: settings that the connections refuse end the command.
func TestRunRefuses(t *testing.T) {
	for name, changes := range map[string]map[string]string{
		"a mode":   {envRedis: `{"mode": "Other", "addresses": ["redis:6379"]}`},
		"a port":   {envListen: "127.0.0.1:nobody"},
		"an auth":  {envVault: `{"address": "https://vault"}`},
		"a server": {envDatabase: `{"address": "/var/run", "name": "postern", "user": {"name": "db", "key": "user"}, "password": {"name": "db", "key": "password"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readSettings(environment(changes))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := run(ctx, s, slog.New(slog.DiscardHandler)); err == nil {
				t.Error("no error")
			}
		})
	}
}

func write(t *testing.T, dir, name, key, value string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name, key), []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(url string) (status int, body string) {
	response, err := http.Get(url) //nolint:gosec // a test's own server
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	b, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(b)
}

func payload(t *testing.T) string {
	t.Helper()
	r := &record.Record{
		Version: 1, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Time: record.At(time.Unix(1_800_000_000, 0)),
		Category: record.Authentication, Action: "login", Outcome: "success", Policy: "shop/orders",
	}
	encoded, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
