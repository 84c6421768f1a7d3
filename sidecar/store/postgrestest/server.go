// Package postgrestest runs real PostgreSQL and PgBouncer servers for tests, and their failures. Servers listen on free loopback
// ports and stop at the end of the test. Without PostgreSQL a test fails; it is not skipped, because these tests are about the
// behaviour of PostgreSQL.
package postgrestest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// Superuser is the administrator of every server, with Server.Password.
const Superuser = "postgres"

// password is the administrator's password on every server.
const password = "postgrestest-s3cret"

// Options configure a server.
type Options struct {
	// TLS makes the server accept only TLS, with a certificate for "localhost" and 127.0.0.1.
	TLS bool
	// Listen is an address of this machine on which the server listens too, for clients in other network namespaces. It is in the
	// certificate. Nil is none.
	Listen net.IP
	// Settings are added to the configuration, for example "max_connections=20".
	Settings []string
}

// Server is a running PostgreSQL. Its data is kept through Stop and Start. It is made for tests: it does not survive a crash of the
// machine.
type Server struct {
	// Addr is host:port.
	Addr     string
	Password string
	// CABundle is the certificate authority of a TLS server, as PEM.
	CABundle []byte

	options   Options
	dir       string
	process   *process
	databases atomic.Int32
}

// Start runs a server until the test ends.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Main runs the tests of a package that share one server, for TestMain, and returns their exit code.
func Main(m *testing.M, shared **Server) int {
	flag.Parse() // testing.Short and others are read before m.Run
	s, err := New(Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	*shared = s
	return m.Run()
}

// New runs a server until Close.
func New(o Options) (*Server, error) {
	s := &Server{Password: password, options: o}
	var err error
	if s.dir, err = ownDir("postgrestest"); err != nil {
		return nil, err
	}
	if err = s.prepare(); err == nil {
		err = s.listen()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return s, nil
}

// prepare makes the data directory.
func (s *Server) prepare() error {
	file := filepath.Join(s.dir, "password")
	if err := writeOwned(file, []byte(s.Password)); err != nil {
		return err
	}
	out, err := runOnce("initdb", "-D", s.data(), "-U", Superuser, "--pwfile", file, "--auth", "scram-sha-256",
		"--no-sync", "--no-instructions", "--encoding", "UTF8", "--locale", "C")
	if err != nil {
		return fmt.Errorf("running initdb: %w: %s", err, out)
	}
	if !s.options.TLS {
		return nil
	}
	var further []net.IP
	if s.options.Listen != nil {
		further = append(further, s.options.Listen)
	}
	authority, err := servertest.NewAuthority(further...)
	if err != nil {
		return err
	}
	s.CABundle = authority.Certificate
	if err := writeOwned(filepath.Join(s.data(), "server.crt"), authority.Certificate); err != nil {
		return err
	}
	if err := writeOwned(filepath.Join(s.data(), "server.key"), authority.Key); err != nil {
		return err
	}
	return writeOwned(filepath.Join(s.data(), "pg_hba.conf"), []byte("hostssl all all all scram-sha-256\n"))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// listen starts the server. It tries several ports: another process may bind a free port first.
func (s *Server) listen() (err error) {
	for range 5 {
		addresses, free := freeport.Addresses(1)
		if free != nil {
			return free
		}
		s.Addr = addresses[0]
		if err = s.run(); err == nil {
			return nil
		}
	}
	return err
}

// settings are fast and small. fsync protects only from a crash of the machine.
func (s *Server) settings() []string {
	_, port, _ := net.SplitHostPort(s.Addr)
	set := []string{"listen_addresses=127.0.0.1", "port=" + port, "unix_socket_directories=", "fsync=off", "full_page_writes=off",
		"shared_buffers=16MB", "max_connections=50", "timezone=UTC", "autovacuum=off", "log_timezone=UTC"}
	if s.options.TLS {
		set = append(set, "ssl=on", "ssl_min_protocol_version=TLSv1.2")
	}
	if s.options.Listen != nil {
		set = append(set, "listen_addresses=127.0.0.1,"+s.options.Listen.String())
	}
	return append(set, s.options.Settings...)
}

// run starts the process and waits until it replies.
func (s *Server) run() error {
	args := []string{"-D", s.data()}
	for _, setting := range s.settings() {
		args = append(args, "-c", setting)
	}
	p, err := startProcess(filepath.Join(s.dir, "postgres.log"), "postgres", args...)
	if err != nil {
		return err
	}
	s.process = p
	err = p.await(s.responds)
	if err != nil {
		s.Stop()
	}
	return err
}

// responds reports whether the started process replies, and not another process on its port.
func (s *Server) responds() bool {
	ctx, cancel := context.WithTimeout(context.Background(), servertest.WaitLimit)
	defer cancel()
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	var dir string
	err = conn.QueryRow(ctx, "SHOW data_directory").Scan(&dir)
	return err == nil && dir == s.data()
}

// Stop kills the server: connections are reset and its port refuses new ones. Its data is kept.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.end(syscall.SIGQUIT)
		s.process = nil
	}
}

// Restart stops the server if it runs, and starts it again on the same port.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop()
	if err := s.run(); err != nil {
		tb.Fatalf("restarting PostgreSQL: %v", err)
	}
}

// Pause stops all processes of the server without closing anything. Connections stay open, the kernel accepts new ones, and there is
// no reply until Resume.
func (s *Server) Pause(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGCONT) }

// signal sends a signal to the server and to the processes of its connections.
func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	for _, pid := range s.process.family() {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			tb.Fatalf("sending %v to PostgreSQL: %v", sig, err)
		}
	}
}

// Close stops the server and removes its data.
func (s *Server) Close() {
	s.Stop()
	_ = os.RemoveAll(s.dir)
}

// Log returns what the server has written.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "postgres.log"))
	return string(text)
}

// Config returns the settings of a connection to a database of the server.
func (s *Server) Config(user, password, database string) (*pgx.ConnConfig, error) {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig("sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Database, config.User, config.Password = host, uint16(number), database, user, password
	config.Fallbacks, config.ConnectTimeout = nil, servertest.WaitLimit
	config.RequireAuth, config.ChannelBinding, config.RuntimeParams = "", "prefer", map[string]string{} // not from the environment
	if s.CABundle != nil {
		if config.TLSConfig, err = trust(s.CABundle); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func (s *Server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := s.Config(Superuser, s.Password, database)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// Connect returns a connection as administrator, for inspection. It is closed at the end of the test.
func (s *Server) Connect(tb testing.TB, database string) *pgx.Conn {
	tb.Helper()
	return s.ConnectAs(tb, Superuser, s.Password, database)
}

// ConnectAs returns a connection as a user. It is closed at the end of the test.
func (s *Server) ConnectAs(tb testing.TB, user, password, database string) *pgx.Conn {
	tb.Helper()
	config, err := s.Config(user, password, database)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// Do runs statements without arguments as administrator.
func (s *Server) Do(tb testing.TB, database string, statements ...string) {
	tb.Helper()
	conn := s.Connect(tb, database)
	defer conn.Close(tb.Context())
	for _, statement := range statements {
		if _, err := conn.Exec(tb.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			tb.Fatalf("running %.60q: %v", statement, err)
		}
	}
}

// Database makes an empty database and returns its name.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := "test_" + strconv.Itoa(int(s.databases.Add(1)))
	s.Do(tb, "postgres", "CREATE DATABASE "+name)
	return name
}

// User makes a user with a password that is granted roles, and returns both. Users belong to the server, so each call makes another.
func (s *Server) User(tb testing.TB, roles ...string) (name, password string) {
	tb.Helper()
	name = "user_" + strconv.Itoa(int(s.databases.Add(1)))
	statement := "CREATE ROLE " + name + " LOGIN PASSWORD '" + name + "-s3cret'"
	if len(roles) > 0 {
		statement += " IN ROLE " + strings.Join(roles, ", ")
	}
	s.Do(tb, "postgres", statement)
	return name, name + "-s3cret"
}
