// Package redistest runs real Redis servers for tests: one server, Sentinel or Cluster, and their failures. Servers listen on
// free loopback ports and stop at the end of the test. Without redis-server a test fails; it is not skipped, because these tests
// are about the behaviour of Redis.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/test/freeport"
	"github.com/posterndev/postern/test/servertest"
)

// Options configure a server.
type Options struct {
	// Password is required of clients, if set.
	Password string
	// TLS makes the server accept only TLS, with a certificate for "localhost" and 127.0.0.1.
	TLS bool
	// ClientTLS makes the server accept only clients with a certificate of its authority. It requires TLS.
	ClientTLS bool
	// Args are added to the command line, for example "--maxmemory", "1mb".
	Args []string
}

// Server is a running redis-server.
type Server struct {
	// Addr is host:port.
	Addr     string
	Password string
	// CAFile and CABundle hold the certificate authority of a TLS server, as PEM.
	CAFile   string
	CABundle []byte

	authority *servertest.Authority
	tb        testing.TB
	args      []string
	dir       string
	cmd       *exec.Cmd
	done      chan struct{}
}

// Start runs one server until the test ends.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	return start(tb, o, nil)
}

// start tries several ports: another process may bind a free port first.
func start(tb testing.TB, o Options, extra func(port string) []string) *Server {
	tb.Helper()
	s := &Server{Password: o.Password, tb: tb, dir: tb.TempDir()}
	var tls []string
	if o.TLS {
		tls = s.makeCertificates(o.ClientTLS)
	}
	tb.Cleanup(func() { s.Stop() })
	var err error
	for range 5 {
		port := freeport.Port(tb)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.args = []string{"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--logfile", "redis.log"}
		s.args = append(s.args, portArgs(port, tls)...)
		if o.Password != "" {
			s.args = append(s.args, "--requirepass", o.Password)
		}
		s.args = append(s.args, o.Args...)
		if extra != nil {
			s.args = append(s.args, extra(port)...)
		}
		if err = s.run(); err == nil {
			return s
		}
	}
	tb.Fatalf("starting redis-server: %v", err)
	return nil
}

func portArgs(port string, tls []string) []string {
	if tls == nil {
		return []string{"--port", port}
	}
	return append([]string{"--port", "0", "--tls-port", port}, tls...)
}

// run starts the process with s.args and waits until it replies.
func (s *Server) run() error {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		s.tb.Fatal("redis-server is not installed: apt-get install redis-server")
	}
	cmd := exec.Command(bin, s.args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done
	deadline := time.Now().Add(servertest.WaitLimit)
	for time.Now().Before(deadline) {
		select {
		case <-done:
			log, _ := os.ReadFile(filepath.Join(s.dir, "redis.log"))
			return fmt.Errorf("redis-server ended: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
		if s.responses() {
			return nil
		}
	}
	return fmt.Errorf("redis-server at %s does not reply", s.Addr)
}

// responses reports whether the started process replies, and not another process on its port.
func (s *Server) responses() bool {
	c := s.Client()
	defer c.Close()
	info, err := c.InfoMap(context.Background(), "server").Result()
	return err == nil && info["Server"]["process_id"] == strconv.Itoa(s.cmd.Process.Pid)
}

// Client returns a client without breaker, for inspection and administration. The caller closes it.
func (s *Server) Client() *goredis.Client {
	o := &goredis.Options{Addr: s.Addr, Password: s.Password, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true}
	if s.CABundle != nil {
		o.TLSConfig = s.clientTLS()
	}
	return goredis.NewClient(o)
}

// Do runs one command as an administrator and fails the test on an error.
func (s *Server) Do(args ...any) any {
	s.tb.Helper()
	c := s.Client()
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	if err != nil {
		s.tb.Fatalf("running %v on %s: %v", args[0], s.Addr, err)
	}
	return v
}

// IsMaster reports whether the server says that it is a master. A server that is promoted may close the connection: that is no answer.
func (s *Server) IsMaster() bool {
	c := s.Client()
	defer c.Close()
	role, err := c.Do(context.Background(), "ROLE").Slice()
	return err == nil && len(role) > 0 && role[0] == "master"
}

// Stop kills the server: connections are reset and its port refuses new ones.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Restart stops the server if it runs, and starts it again on the same port. Its data and script cache are lost.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.run(); err != nil {
		s.tb.Fatalf("restarting redis-server: %v", err)
	}
}

// Pause stops the process without closing anything. Connections stay open, the kernel accepts new ones, and there is no reply
// until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Demote makes the server a replica whose link to its master is down. It keeps its data, and answers reads with it. Promote undoes
// it.
func (s *Server) Demote() { s.tb.Helper(); s.Do("REPLICAOF", "127.0.0.1", "1") }

// Promote makes a replica a master.
func (s *Server) Promote() { s.tb.Helper(); s.Do("REPLICAOF", "NO", "ONE") }

// Replica starts a replica of s, and waits until it has all data.
func (s *Server) Replica() *Server {
	s.tb.Helper()
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.tb.Fatal(err)
	}
	replica := Start(s.tb, Options{Password: s.Password, Args: []string{"--masterauth", s.Password, "--replicaof", host + " " + port}})
	s.Do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	Eventually(s.tb, "the replica to be synchronised", replica.synchronised)
	return replica
}

func (s *Server) synchronised() bool {
	client := s.Client()
	defer client.Close()
	info, err := client.InfoMap(context.Background(), "replication").Result()
	return err == nil && info["Replication"]["master_link_status"] == "up"
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("sending %v to redis-server: %v", sig, err)
	}
}

// Eventually waits until ok returns true. After servertest.WaitLimit it fails the test with what.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	servertest.Eventually(tb, what, ok)
}
