package postgrestest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// Bouncer is a running PgBouncer in transaction mode.
type Bouncer struct {
	// Addr is host:port.
	Addr string

	dir     string
	process *process
}

// StartBouncer runs a PgBouncer before server until the test ends. It has one connection to the server for each user, and lets in
// the users, which are pairs of a name and a password.
func StartBouncer(tb testing.TB, server *Server, users ...[2]string) *Bouncer {
	tb.Helper()
	dir, err := ownDir("bouncertest")
	if err != nil {
		tb.Fatal(err)
	}
	b := &Bouncer{dir: dir}
	tb.Cleanup(func() {
		b.Stop()
		_ = os.RemoveAll(dir)
	})
	for range 5 {
		b.Addr = freeport.Address(tb)
		if err = b.run(server, users); err == nil {
			return b
		}
	}
	tb.Fatalf("starting PgBouncer: %v", err)
	return nil
}

const bouncerConfig = `[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
log_connections = 0
log_disconnections = 0
`

func (b *Bouncer) run(server *Server, users [][2]string) error {
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		return err
	}
	_, own, err := net.SplitHostPort(b.Addr)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, u := range users {
		fmt.Fprintf(&list, "%q %q\n", u[0], u[1])
	}
	auth, file := filepath.Join(b.dir, "users.txt"), filepath.Join(b.dir, "pgbouncer.ini")
	if err := writeOwned(auth, []byte(list.String())); err != nil {
		return err
	}
	if err := writeOwned(file, fmt.Appendf(nil, bouncerConfig, host, port, own, auth)); err != nil {
		return err
	}
	if b.process, err = startProcess(filepath.Join(b.dir, "pgbouncer.log"), "pgbouncer", file); err != nil {
		return err
	}
	return b.process.await(func() bool { return b.responds(server, users) })
}

// responds reports whether a user can log in and reaches the server.
func (b *Bouncer) responds(server *Server, users [][2]string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), servertest.WaitLimit)
	defer cancel()
	through := &Server{Addr: b.Addr}
	config, err := through.Config(users[0][0], users[0][1], "postgres")
	if err != nil {
		return false
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	var port string
	err = conn.QueryRow(ctx, "SHOW port").Scan(&port)
	return err == nil && strings.HasSuffix(server.Addr, ":"+port)
}

// Stop kills PgBouncer.
func (b *Bouncer) Stop() {
	if b.process != nil {
		b.process.end(syscall.SIGQUIT)
		b.process = nil
	}
}
