package redistest

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/posterndev/postern/test/freeport"
)

// MasterName is the name of the master in Sentinel.
const MasterName = "main"

// Sentinel is a master with one replica, monitored by one sentinel. One sentinel is enough for a failover.
type Sentinel struct {
	Master, Replica, Watcher *Server
	// Addrs are the sentinel's addresses.
	Addrs []string
}

// StartSentinel starts the three servers. The data servers require password, the sentinel requires sentinelPassword.
func StartSentinel(tb testing.TB, password, sentinelPassword string) *Sentinel {
	tb.Helper()
	// A promoted replica must require the same password from clients, and use it to log in after it is demoted.
	auth := []string{"--masterauth", password, "--repl-diskless-sync-delay", "0"}
	master := Start(tb, Options{Password: password, Args: auth})
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	replica := Start(tb, Options{Password: password, Args: append(auth, "--replicaof", host+" "+port)})
	watcher := startWatcher(tb, master.Addr, password, sentinelPassword)
	s := &Sentinel{Master: master, Replica: replica, Watcher: watcher, Addrs: []string{watcher.Addr}}
	Eventually(tb, "sentinel to see a synchronised replica", s.ready)
	return s
}

func startWatcher(tb testing.TB, master, masterPassword, password string) *Server {
	tb.Helper()
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		tb.Fatal(err)
	}
	// Sentinel rewrites its configuration, so it must be a file. Settings from the command line are added to it.
	conf := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 300\n"+
		"sentinel failover-timeout %[1]s 2000\n", MasterName, host, port)
	if masterPassword != "" {
		conf += fmt.Sprintf("sentinel auth-pass %s %s\n", MasterName, masterPassword)
	}
	s := &Server{Password: password, tb: tb, dir: tb.TempDir()}
	tb.Cleanup(func() { s.Stop() })
	for range 5 {
		file := s.write("sentinel.conf", []byte(conf))
		own := freeport.Port(tb)
		s.Addr = net.JoinHostPort("127.0.0.1", own)
		s.args = []string{file, "--sentinel", "--bind", "127.0.0.1", "--port", own, "--dir", s.dir, "--logfile", "redis.log"}
		if password != "" {
			s.args = append(s.args, "--requirepass", password)
		}
		if err = s.run(); err == nil {
			return s
		}
	}
	tb.Fatalf("starting sentinel: %v", err)
	return nil
}

// ready reports whether a failover would succeed now.
func (s *Sentinel) ready() bool {
	if !s.Replica.synchronised() {
		return false
	}
	watcher := s.Watcher.Client()
	defer watcher.Close()
	known, err := watcher.Do(context.Background(), "SENTINEL", "replicas", MasterName).Slice()
	return err == nil && len(known) == 1
}

// CutOff makes the replica the master, without the knowledge of the old master: it keeps its role and takes writes, as if a network
// separated it from the replica and the sentinel.
func (s *Sentinel) CutOff() {
	tb := s.Watcher.tb
	tb.Helper()
	host, port, err := net.SplitHostPort(s.Replica.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	s.Replica.Promote()
	s.Watcher.Do("SENTINEL", "REMOVE", MasterName)
	s.Watcher.Do("SENTINEL", "MONITOR", MasterName, host, port, 1)
	if s.Replica.Password != "" {
		s.Watcher.Do("SENTINEL", "SET", MasterName, "auth-pass", s.Replica.Password)
	}
}
