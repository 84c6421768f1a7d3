package redis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/breaker"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// password is a source that a test can rotate.
type password struct{ value atomic.Value }

func newPassword(s string) *password {
	p := &password{}
	p.value.Store(s)
	return p
}

func (p *password) Read(context.Context) (secret.Value, error) {
	s, ok := p.value.Load().(string)
	if !ok || s == "" {
		return secret.Value{}, errors.New("reading secret redis-password: empty")
	}
	return secret.New([]byte(s)), nil
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newTestMetrics() (*Metrics, error) { return NewMetrics(prometheus.NewRegistry()) }

func newMetrics(t *testing.T) *Metrics {
	t.Helper()
	m, err := newTestMetrics()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// generous is a timeout that a busy machine keeps to. Tests of outages use the default.
const generous = 3 * time.Second

func open(t *testing.T, c Config) *Conn {
	t.Helper()
	conn, err := Open(c, newMetrics(t), discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func openUp(t *testing.T, c Config) *Conn {
	t.Helper()
	conn := open(t, c)
	redistest.Eventually(t, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

func standalone(s *redistest.Server) Config {
	return Config{Mode: Standalone, Addresses: []string{s.Addr}, Timeout: generous}
}

// incr increments key and returns the count.
func incr(ctx context.Context, c *Conn, key string) (n int64, err error) {
	err = c.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		n, err = client.Incr(ctx, key).Result()
		return err
	})
	return n, err
}

func TestModes(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T) Config{
		"standalone": func(t *testing.T) Config { return standalone(redistest.Start(t, redistest.Options{})) },
		"another database": func(t *testing.T) Config {
			c := standalone(redistest.Start(t, redistest.Options{}))
			c.Database = 3
			return c
		},
		"password": func(t *testing.T) Config {
			c := standalone(redistest.Start(t, redistest.Options{Password: "s3cret"}))
			c.Password = newPassword("s3cret")
			return c
		},
		"ACL user": func(t *testing.T) Config {
			s := redistest.Start(t, redistest.Options{Password: "s3cret"})
			s.Do("ACL", "SETUSER", "postern", "on", ">us3r", "~postern:*", "~k", "+@all")
			c := standalone(s)
			c.Username, c.Password = "postern", newPassword("us3r")
			return c
		},
		"TLS by name": func(t *testing.T) Config {
			s := redistest.Start(t, redistest.Options{TLS: true})
			c := standalone(s)
			c.TLS = &TLSConfig{ServerName: "localhost", CABundle: s.CABundle}
			return c
		},
		"TLS by address": func(t *testing.T) Config {
			s := redistest.Start(t, redistest.Options{TLS: true, Password: "s3cret"})
			c := standalone(s)
			c.TLS, c.Password = &TLSConfig{CABundle: s.CABundle}, newPassword("s3cret")
			return c
		},
		"client certificate": func(t *testing.T) Config {
			s := redistest.Start(t, redistest.Options{TLS: true, ClientTLS: true})
			c := standalone(s)
			c.TLS = newClientTLS(s)
			return c
		},
		"sentinel": func(t *testing.T) Config {
			s := redistest.StartSentinel(t, "s3cret", "s3ntinel")
			return Config{Mode: Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName, Timeout: generous,
				Password: newPassword("s3cret"), SentinelPassword: newPassword("s3ntinel")}
		},
		"cluster": func(t *testing.T) Config {
			c := redistest.StartCluster(t, "s3cret")
			return Config{Mode: Cluster, Addresses: c.Addrs[:1], Password: newPassword("s3cret"), Timeout: generous}
		},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := openUp(t, config(t))
			if n, err := incr(t.Context(), conn, "k"); n != 1 || err != nil {
				t.Errorf("INCR = %d, %v; want 1", n, err)
			}
		})
	}
}

func TestConnectErrorsAreLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t, redistest.Options{Password: "s3cret"})
	encrypted := redistest.Start(t, redistest.Options{TLS: true})
	sentinel := redistest.StartSentinel(t, "s3cret", "s3ntinel")
	tests := map[string]struct {
		config  Config
		wantErr string
	}{
		"wrong password":    {config: Config{Mode: Standalone, Addresses: []string{plain.Addr}, Password: newPassword("wr0ng")}, wantErr: "WRONGPASS"},
		"no password":       {config: Config{Mode: Standalone, Addresses: []string{plain.Addr}}, wantErr: "NOAUTH"},
		"unreadable secret": {config: Config{Mode: Standalone, Addresses: []string{plain.Addr}, Password: newPassword("")}, wantErr: "redis-password: empty"},
		"unknown authority": {config: Config{Mode: Standalone, Addresses: []string{encrypted.Addr}, TLS: &TLSConfig{}}, wantErr: "certificate"},
		"wrong name":        {config: Config{Mode: Standalone, Addresses: []string{encrypted.Addr}, TLS: &TLSConfig{ServerName: "example.com", CABundle: encrypted.CABundle}}, wantErr: "example.com"},
		"plain to TLS":      {config: Config{Mode: Standalone, Addresses: []string{encrypted.Addr}}, wantErr: "Redis is unavailable"},
		"wrong sentinel password": {config: Config{Mode: Sentinel, Addresses: sentinel.Addrs, MasterName: redistest.MasterName,
			Password: newPassword("s3cret"), SentinelPassword: newPassword("wr0ng")}, wantErr: "password was refused"},
		"unknown master": {config: Config{Mode: Sentinel, Addresses: sentinel.Addrs, MasterName: "other",
			Password: newPassword("s3cret"), SentinelPassword: newPassword("s3ntinel")}, wantErr: "sentinel"},
		"no server": {config: Config{Mode: Standalone, Addresses: []string{"127.0.0.1:1"}}, wantErr: "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Buffer
			tt.config.Timeout = generous
			conn, err := Open(tt.config, newMetrics(t), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			redistest.Eventually(t, "the breaker to open", func() bool { return conn.openGuards() > 0 && log.String() != "" })
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if status := conn.Status(); status.Up || !errors.Is(status.Err, ErrUnavailable) {
				t.Errorf("Status = %+v", status)
			}
			for _, pass := range []string{"wr0ng", "s3cret", "s3ntinel"} {
				if strings.Contains(log.String(), pass) {
					t.Errorf("the log contains a password: %s", log.String())
				}
			}
			if !strings.Contains(log.String(), tt.wantErr) {
				t.Errorf("the log does not say %q: %s", tt.wantErr, log.String())
			}
		})
	}
}

func TestErrorReplyIsNoOutage(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{})
	conn := openUp(t, standalone(s))
	s.Do("SET", "k", "text")
	for range 2 * breaker.Threshold {
		if _, err := incr(t.Context(), conn, "k"); err == nil || errors.Is(err, ErrUnavailable) {
			t.Fatalf("INCR of a string = %v; want Redis's own error", err)
		}
	}
	if conn.openGuards() != 0 || conn.Status().Up {
		t.Errorf("breakers open: %d, status %+v; want none, and the error reply in Err", conn.openGuards(), conn.Status())
	}
	if _, err := incr(t.Context(), conn, "n"); err != nil || !conn.Status().Up {
		t.Errorf("INCR = %v, status %+v", err, conn.Status())
	}
	if got := testutil.ToFloat64(conn.metrics.requests.WithLabelValues("refused")); got != 2*breaker.Threshold {
		t.Errorf("refused = %v", got)
	}
}

func TestCanceledClientDoesNotUndoItsCount(t *testing.T) {
	t.Parallel()
	conn := openUp(t, standalone(redistest.Start(t, redistest.Options{})))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := incr(ctx, conn, "k"); n != 1 || err != nil {
		t.Errorf("INCR = %d, %v; want 1", n, err)
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(reg); err == nil {
		t.Error("registered twice")
	}
}
