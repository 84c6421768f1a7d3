package postgres

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/test/servertest"
)

// shared is the server of all tests that leave it running.
var shared *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m, &shared)) }

// account is Credentials that a test can change.
type account struct {
	mu             sync.Mutex
	user, password string
	valid          time.Time
	err            error
}

func (a *account) Credentials(context.Context) (string, secret.Value, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.user, secret.New([]byte(a.password)), a.valid, a.err
}

func (a *account) set(user, password string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.user, a.password, a.err = user, password, err
}

// newAccount makes a user of server.
func newAccount(t *testing.T, server *postgrestest.Server) *account {
	t.Helper()
	user, password := server.User(t)
	return &account{user: user, password: password}
}

// harness is a pool with its log and metrics.
type harness struct {
	*Pool
	log      *logtest.Buffer
	registry *prometheus.Registry
	database string
	account  *account
}

// open opens a pool of a database of server, with a table kept(n) that everybody may fill; change may alter its Config. At the end
// of the test its log must not contain a password: all of them contain "s3cret".
func newHarness(t *testing.T, server *postgrestest.Server, change func(*Config)) *harness {
	t.Helper()
	h := &harness{log: &logtest.Buffer{}, registry: prometheus.NewRegistry(), database: server.Database(t), account: newAccount(t, server)}
	server.Do(t, h.database, "CREATE TABLE kept (n bigint)", "GRANT INSERT, SELECT ON kept TO PUBLIC")
	c := Config{Address: server.Addr, Name: h.database, Credentials: h.account, TLS: Disable, ConnectTimeout: 10 * time.Second}
	if server.CABundle != nil {
		c.TLS, c.CABundle = VerifyFull, server.CABundle
	}
	if change != nil {
		change(&c)
	}
	metrics, err := NewMetrics(h.registry)
	if err != nil {
		t.Fatal(err)
	}
	if h.Pool, err = Open(c, metrics, slog.New(slog.NewJSONHandler(h.log, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		if strings.Contains(h.log.String(), "s3cret") {
			t.Errorf("the log has a password: %s", h.log)
		}
	})
	return h
}

// up opens a pool and waits until it is up.
func up(t *testing.T, server *postgrestest.Server, change func(*Config)) *harness {
	t.Helper()
	h := newHarness(t, server, change)
	h.awaitUp(t)
	return h
}

func (h *harness) awaitUp(t *testing.T) {
	t.Helper()
	servertest.Eventually(t, "the database to be up", func() bool { return h.Status().Up })
	servertest.Eventually(t, "a copy to succeed", func() bool { return h.copy(t.Context(), 1) == nil })
	if h.gauge(t, "postern_database_up") != 1 || h.gauge(t, "postern_database_breaker_open") != 0 {
		t.Errorf("up %v, open %v", h.gauge(t, "postern_database_up"), h.gauge(t, "postern_database_breaker_open"))
	}
}

// copy writes numbers with COPY.
func (h *harness) copy(ctx context.Context, numbers ...int64) error {
	return h.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"kept"}, []string{"n"},
			pgx.CopyFromSlice(len(numbers), func(i int) ([]any, error) { return []any{numbers[i]}, nil }))
		return err
	})
}

// backend returns the id of the server's process and the user of a connection.
func (h *harness) backend(ctx context.Context) (pid int, user string, err error) {
	err = h.Do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_backend_pid(), session_user").Scan(&pid, &user)
	})
	return pid, user, err
}

func (h *harness) gauge(t *testing.T, name string) float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func (h *harness) count(result string) float64 {
	return testutil.ToFloat64(h.metrics.requests.WithLabelValues(result))
}
