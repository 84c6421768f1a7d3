package redis

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// replies are error replies about writes, with how they are classified.
func replies() map[string]outcome {
	return map[string]outcome{
		"READONLY You can't write against a read only replica.":                                                 notMaster,
		"READONLY You can't write against a read only replica. script: 39231f, on @user_script:32.":             notMaster,
		"ERR READONLY You can't write against a read only replica.":                                             notMaster,
		"-READONLY You can't write against a read only replica.":                                                notMaster,
		"ERR -READONLY You can't write against a read only replica.":                                            notMaster,
		"ERR Error running script (call to f_39231f): @user_script:9: -READONLY You can't write against a read": notMaster,
		"ERR You can't write against a read only slave.":                                                        notMaster,
		"ERR backend: can't write to a Read-Only Replica":                                                       notMaster,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                      notMaster,
		"ERR MASTERDOWN Link with MASTER is down":                                                               notMaster,
		"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)":          notMaster,
		"NOREPLICAS Not enough good replicas to write.":                                                         unwritable,
		"ERR NOREPLICAS Not enough good replicas to write.":                                                     unwritable,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.":      unwritable,
		"ERR Error running script (call to f_39231f): @user_script:9: -MISCONF Errors writing to the AOF file":  unwritable,
		"LOADING Redis is loading the dataset in memory":                                                        unavailable,
		"CLUSTERDOWN The cluster is down":                                                                       unavailable,
		"OOM command not allowed when used memory > 'maxmemory'.":                                               refused,
		"NOPERM this user has no permissions to run the 'del' command":                                          refused,
		"WRONGTYPE Operation against a key holding the wrong kind of value":                                     refused,
		"MOVED 1 127.0.0.1:1": refused,
		// Clients choose arguments, and must not open the breaker with them.
		"ERR unknown command 'HMGET', with args beginning with: 'read only replica' 'READONLY' ": refused,
		"ERR value is not an integer: " + strings.Repeat("x", maxJudged) + " read only replica":  refused,
	}
}

func TestRepliesAboutWrites(t *testing.T) {
	for text, want := range replies() {
		if got := classify(response(text)); got != want {
			t.Errorf("classify(%q) = %d; want %d", text, got, want)
		}
	}
}

func FuzzJudgeReply(f *testing.F) {
	for text := range replies() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.HasPrefix(text, "ERR unknown command") && judgeReply(text) != refused {
			t.Errorf("judgeReply(%q) = %d", text, judgeReply(text))
		}
		if strings.HasPrefix(text, "READONLY ") && judgeReply(text) != notMaster {
			t.Errorf("judgeReply(%q) = %d", text, judgeReply(text))
		}
	})
}

// TestAProxyInFrontOfAReplica: each connection of a proxy stays with its server. Any reply that says the server cannot write drops
// the connection, and the next one reaches the master.
func TestAProxyInFrontOfAReplica(t *testing.T) {
	t.Parallel()
	for text, kind := range replies() {
		if kind != notMaster && kind != unwritable {
			continue
		}
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			proxy := startFake(t, func([]string) string { return ":1" })
			conn := openUp(t, Config{Mode: Standalone, Addresses: []string{proxy.addr}, Timeout: generous})
			before := proxy.accepted.Load()
			bad := func([]string) string { return "-" + text }
			proxy.reply.Store(&bad)
			if _, err := incr(t.Context(), conn, "k"); err == nil || errors.Is(err, ErrUnavailable) != (kind == notMaster) {
				t.Errorf("INCR = %v", err)
			}
			redistest.Eventually(t, "another connection", func() bool {
				_, _ = incr(t.Context(), conn, "k")
				return proxy.accepted.Load() > before
			})
			if testutil.ToFloat64(conn.metrics.lookups.WithLabelValues("master")) == 0 {
				t.Error("no look-up was counted")
			}
			good := func([]string) string { return ":1" }
			proxy.reply.Store(&good)
			redistest.Eventually(t, "the master to be used", func() bool { _, err := incr(t.Context(), conn, "k"); return err == nil && conn.Status().Up })
		})
	}
}

// TestADemotedMaster: no command reaches a server that became a replica, until it is the master again.
func TestADemotedMaster(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*redistest.Server){
		"READONLY":   func(*redistest.Server) {},
		"MASTERDOWN": func(s *redistest.Server) { s.Do("CONFIG", "SET", "replica-serve-stale-data", "no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Options{})
			conn := openUp(t, standalone(s))
			prepare(s)
			s.Demote()
			waitOpen(t, conn, "k")
			s.Promote()
			waitUp(t, conn, "k")
		})
	}
}
