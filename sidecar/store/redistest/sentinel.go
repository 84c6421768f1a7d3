package redistest

import (
	"context"
	"fmt"
	"net"
	"testing"
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
	conf := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel auth-pass %[1]s %[4]s\n"+
		"sentinel down-after-milliseconds %[1]s 300\nsentinel failover-timeout %[1]s 2000\n", MasterName, host, port, masterPassword)
	s := &Server{Password: password, tb: tb, dir: tb.TempDir()}
	tb.Cleanup(func() { s.Stop() })
	for range 5 {
		file := s.write("sentinel.conf", []byte(conf))
		own := freePort(tb)
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
	replica := s.Replica.Client()
	defer replica.Close()
	info, err := replica.InfoMap(context.Background(), "replication").Result()
	if err != nil || info["Replication"]["master_link_status"] != "up" {
		return false
	}
	watcher := s.Watcher.Client()
	defer watcher.Close()
	known, err := watcher.Do(context.Background(), "SENTINEL", "replicas", MasterName).Slice()
	return err == nil && len(known) == 1
}
