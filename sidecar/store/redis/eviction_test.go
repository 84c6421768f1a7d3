package redis

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestEviction: a policy other than noeviction is in the status, the metric and the log, until it is changed.
func TestEviction(t *testing.T) {
	t.Parallel()
	var log logtest.Buffer
	s := redistest.Start(t, redistest.Options{Args: []string{"--maxmemory-policy", "volatile-lru"}})
	conn, err := Open(standalone(s), newMetrics(t), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	redistest.Eventually(t, "the policy to be noticed", func() bool { return conn.Status().Evicts == "volatile-lru" })
	if status := conn.Status(); !status.Up {
		t.Errorf("Status = %+v; eviction is no outage", status)
	}
	if conn.metrics.evicts() != 1 || strings.Count(log.String(), "maxmemoryPolicy=volatile-lru") != 1 {
		t.Errorf("evicts %v, log %s", conn.metrics.evicts(), log.String())
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	conn.checkPolicy(t.Context())
	if status := conn.Status(); status.Evicts != "" || conn.metrics.evicts() != 0 || !strings.Contains(log.String(), "does not evict keys") {
		t.Errorf("Status = %+v, evicts %v, log %s", status, conn.metrics.evicts(), log.String())
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	conn.checkPolicy(t.Context())
	if status := conn.Status(); status.Evicts != "allkeys-random" {
		t.Errorf("Status = %+v after a change", status)
	}
}

func TestEvictionOfOneNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "")
	cluster.Nodes[1].Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	conn := openUp(t, Config{Mode: Cluster, Addresses: cluster.Addrs, Timeout: generous})
	redistest.Eventually(t, "the policy to be noticed", func() bool { return conn.Status().Evicts == "allkeys-lru" })
}

// TestUnknownPolicy: a user who may not run INFO, for example with the ACL of an older version, is told so once, and not hindered.
func TestUnknownPolicy(t *testing.T) {
	t.Parallel()
	var log logtest.Buffer
	s := redistest.Start(t, redistest.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	s.Do("ACL", "SETUSER", "postern", "on", ">us3r", "~*", "+@all", "-info")
	c := standalone(s)
	c.Username, c.Password = "postern", newPassword("us3r")
	conn, err := Open(c, newMetrics(t), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	redistest.Eventually(t, "the log", func() bool { return strings.Contains(log.String(), "maxmemory-policy of Redis is unknown") })
	conn.checkPolicy(t.Context())
	if n := strings.Count(log.String(), "is unknown"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if status := conn.Status(); !status.Up || status.Evicts != "" || conn.openGuards() != 0 {
		t.Errorf("Status = %+v", status)
	}
}

func TestPolicyOf(t *testing.T) {
	for info, want := range map[string]string{
		"# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\nx:y\r\n": "allkeys-lru",
		"# Memory\r\nused_memory:1\r\n":                                        "",
		"":                                                                     "",
		"maxmemory_policy:" + strings.Repeat("x", 100): strings.Repeat("x", 32),
	} {
		if got := policyOf(info); got != want {
			t.Errorf("policyOf(%q) = %q; want %q", info, got, want)
		}
	}
}
