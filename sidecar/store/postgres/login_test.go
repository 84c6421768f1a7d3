package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/test/servertest"
)

// TestNewCredentials: a connection in use is not disturbed, all others are closed.
func TestNewCredentials(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	old, before, err := h.backend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next, password := shared.User(t)
	err = h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		h.account.set(next, password, nil)
		h.sweep(ctx)
		if pid, after, err := h.backend(ctx); err != nil || pid == old || after != next {
			t.Errorf("a connection made meanwhile is %d of %s, %v", pid, after, err)
		}
		_, err := conn.Exec(ctx, "INSERT INTO kept VALUES (7)")
		return err
	})
	if err != nil {
		t.Errorf("the connection of %s that was in use: %v", before, err)
	}
	h.awaitNoneOf(t, before)
	// Connections that nobody uses are closed as well.
	last, password := shared.User(t)
	h.account.set(last, password, nil)
	h.awaitNoneOf(t, next)
}

// awaitNoneOf waits until a user has no connection.
func (h *harness) awaitNoneOf(t *testing.T, user string) {
	t.Helper()
	admin := shared.Connect(t, "postgres")
	servertest.Eventually(t, "the connections of "+user+" to be closed", func() bool {
		var n int
		err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", user).Scan(&n)
		return err == nil && n == 0
	})
}

// TestNewPassword: the user is the same, and the old password no longer works.
func TestNewPassword(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	old, user, err := h.backend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shared.Do(t, "postgres", "ALTER ROLE "+user+" PASSWORD 'new-s3cret'")
	h.account.set(user, "new-s3cret", nil)
	if pid, _, err := h.backend(t.Context()); err != nil || pid == old {
		t.Errorf("the connection is %d, as before: %v, %v", pid, pid == old, err)
	}
}

func TestCredentialsAway(t *testing.T) {
	t.Parallel()
	h := up(t, shared, nil)
	old, user, err := h.backend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.account.set(user, "", errors.New("vault is away"))
	if pid, _, err := h.backend(t.Context()); err != nil || pid != old {
		t.Errorf("while the credentials cannot be read: connection %d, not %d, %v", pid, old, err)
	}
}

// TestErrorsHaveNoPassword makes every failure of a login, and looks for the password in the errors. The log is looked at by
// newHarness.
func TestErrorsHaveNoPassword(t *testing.T) {
	t.Parallel()
	encrypted := postgrestest.Start(t, postgrestest.Options{TLS: true})
	foreign, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		server *postgrestest.Server
		change func(*Config)
		want   string
	}{
		"wrong password":            {shared, func(c *Config) { c.Credentials = &account{user: postgrestest.Superuser, password: "wrong-s3cret"} }, "password authentication failed"},
		"unknown user":              {shared, func(c *Config) { c.Credentials = &account{user: "nobody", password: "wrong-s3cret"} }, "password authentication failed"},
		"no credentials":            {shared, func(c *Config) { c.Credentials = &account{err: errors.New("no such file")} }, "no such file"},
		"no database":               {shared, func(c *Config) { c.Name = "absent" }, "does not exist"},
		"no server":                 {shared, func(c *Config) { c.Address = "127.0.0.1:1" }, "refused"},
		"no host":                   {shared, func(c *Config) { c.Address = "absent.invalid:5432" }, "absent.invalid"},
		"a server without TLS":      {shared, func(c *Config) { c.TLS, c.CABundle = VerifyFull, foreign.Certificate }, "TLS"},
		"a server with TLS":         {encrypted, func(c *Config) { c.TLS, c.CABundle = Disable, nil }, "no encryption"},
		"another authority":         {encrypted, func(c *Config) { c.CABundle = foreign.Certificate }, "certificate"},
		"authorities of the system": {encrypted, func(c *Config) { c.CABundle = nil }, "certificate"},
		"another name":              {encrypted, func(c *Config) { c.ServerName = "db.example.com" }, "db.example.com"},
		"another host":              {encrypted, func(c *Config) { c.Address = strings.Replace(c.Address, "127.0.0.1", "127.0.0.2", 1) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, tt.server, tt.change)
			var err error
			servertest.Eventually(t, "an outage", func() bool {
				err = h.copy(t.Context(), 1)
				return errors.Is(err, ErrUnavailable) && !errors.Is(err, errOpen)
			})
			for _, err := range []error{err, h.Status().Err} {
				if err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("err = %v", err)
				}
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v; want %q", err, tt.want)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t, postgrestest.Options{TLS: true})
	for _, host := range []string{"127.0.0.1", "localhost"} {
		h := up(t, s, func(c *Config) { c.Address = strings.Replace(c.Address, "127.0.0.1", host, 1) })
		var version string
		err := h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&version)
		})
		if err != nil || version != "TLSv1.3" {
			t.Errorf("%s: %s, %v", host, version, err)
		}
	}
}

func TestLogin(t *testing.T) {
	name, word := source("  app\n"), source("s3cret")
	tests := map[string]struct {
		login    Login
		wantUser string
		wantErr  string
	}{
		"name":              {login: Login{User: "app", Password: word}, wantUser: "app"},
		"name in a source":  {login: Login{UserSource: name, Password: word}, wantUser: "app"},
		"no password":       {login: Login{User: "app"}, wantUser: "app"},
		"no user":           {login: Login{Password: word}, wantErr: "is empty"},
		"unreadable source": {login: Login{UserSource: secret.File("/absent"), Password: word}, wantErr: "/absent"},
		"unreadable secret": {login: Login{User: "app", Password: secret.File("/absent")}, wantErr: "/absent"},
	}
	for test, tt := range tests {
		t.Run(test, func(t *testing.T) {
			user, password, valid, err := tt.login.Credentials(t.Context())
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil || user != tt.wantUser || !valid.IsZero() || tt.login.Password != nil && string(password.Reveal()) != "s3cret" {
				t.Errorf("%s, %v, %v", user, valid, err)
			}
		})
	}
}

type source string

func (s source) Read(context.Context) (secret.Value, error) { return secret.New([]byte(s)), nil }

func TestConfig(t *testing.T) {
	good := Config{Address: "db.example.com:5432", Name: "postern", Credentials: Login{User: "app"}, TLS: VerifyFull}
	tests := map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"good":               {change: func(*Config) {}},
		"IPv6":               {change: func(c *Config) { c.Address = "[2001:db8::1]:5432" }},
		"no port":            {change: func(c *Config) { c.Address = "db.example.com" }, wantErr: "host:port"},
		"a port of 0":        {change: func(c *Config) { c.Address = "db.example.com:0" }, wantErr: "host:port"},
		"a socket":           {change: func(c *Config) { c.Address = "/run/postgresql:5432" }, wantErr: "host:port"},
		"two servers":        {change: func(c *Config) { c.Address = "a,b:5432" }, wantErr: "host:port"},
		"a URL":              {change: func(c *Config) { c.Address = "user:s3cret@db:5432" }, wantErr: "host:port"},
		"no name":            {change: func(c *Config) { c.Name = "" }, wantErr: "name"},
		"no credentials":     {change: func(c *Config) { c.Credentials = nil }, wantErr: "credentials"},
		"no TLS mode":        {change: func(c *Config) { c.TLS = "" }, wantErr: "TLS mode"},
		"a bundle for TCP":   {change: func(c *Config) { c.TLS, c.CABundle = Disable, []byte("x") }, wantErr: "CA bundle"},
		"a name for TCP":     {change: func(c *Config) { c.TLS, c.ServerName = Disable, "db.example.com" }, wantErr: "server name"},
		"a bundle of no PEM": {change: func(c *Config) { c.CABundle = []byte("x") }, wantErr: "ertificate"},
		"many connections":   {change: func(c *Config) { c.MaxConns = 17 }, wantErr: "connections"},
		"a negative timeout": {change: func(c *Config) { c.Timeout = -time.Second }, wantErr: "timeouts"},
		"a long timeout":     {change: func(c *Config) { c.ConnectTimeout = time.Hour }, wantErr: "timeouts"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good
			tt.change(&c)
			c, err := c.withDefaults()
			if err == nil {
				_, err = c.pool()
			}
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("err = %v; want %q", err, tt.wantErr)
			}
		})
	}
}

// TestEnvironmentIsIgnored: a container's variables do not choose the server, the login or TLS.
func TestEnvironmentIsIgnored(t *testing.T) {
	for name, value := range map[string]string{"PGHOST": "other", "PGPORT": "1", "PGUSER": "other", "PGPASSWORD": "other-s3cret", "PGDATABASE": "other",
		"PGSSLMODE": "require", "PGOPTIONS": "-c search_path=evil", "PGAPPNAME": "other", "PGTARGETSESSIONATTRS": "read-only",
		"PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require"} {
		t.Setenv(name, value)
	}
	h := up(t, shared, nil)
	var app, path string
	err := h.Do(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT current_setting('application_name'), current_setting('search_path')").Scan(&app, &path)
	})
	if err != nil || app != applicationName || strings.Contains(path, "evil") {
		t.Errorf("application %q, search path %q, %v", app, path, err)
	}
}
