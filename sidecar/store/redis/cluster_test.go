package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// maxLoads is the number of topology loads between a promotion and the first write at the new master: those of two seconds.
const maxLoads = float64(2 * time.Second / topologyInterval)

// TestClusterFailover: the topology is loaded as soon as a breaker opens, and again until a replica was promoted. Then the status
// is up, although the old master is still down.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartReplicatedCluster(t, "s3cret")
			conn := openUp(t, Config{Mode: Cluster, Addresses: cluster.Addrs, Password: newPassword("s3cret")})
			loads := func() float64 { return testutil.ToFloat64(conn.metrics.lookups.WithLabelValues("topology")) }
			redistest.Eventually(t, "a first count", func() bool { _, err := incr(t.Context(), conn, "a"); return err == nil })
			i := cluster.Index("a")
			before := loads()
			fail(cluster.Nodes[i])
			waitOpen(t, conn, "a")
			redistest.Eventually(t, "the topology to be loaded", func() bool { return loads() > before })
			redistest.Eventually(t, "a replica to be promoted", cluster.Replicas[i].IsMaster)
			before = loads()
			waitUp(t, conn, "a")
			if n := loads() - before; n > maxLoads {
				t.Errorf("%v loads of the topology after the promotion; want at most %v", n, maxLoads)
			}
			after := loads()
			for range 30 {
				if status := conn.Status(); !status.Up {
					t.Fatalf("Status = %+v while the cluster is in order", status)
				}
				if _, err := incr(t.Context(), conn, "a"); err != nil {
					t.Fatalf("INCR after the failover = %v", err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			if n := loads() - after; n > 1 {
				t.Errorf("%v loads of the topology, although no node in use is lost", n)
			}
		})
	}
}

// TestAMasterThatIsCutOff: a master without the majority answers CLUSTERDOWN. It is not used until the cluster is whole again.
func TestAMasterThatIsCutOff(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "")
	conn := openUp(t, Config{Mode: Cluster, Addresses: cluster.Addrs, Timeout: generous})
	i := cluster.Index("a")
	for j, node := range cluster.Nodes {
		if j != i {
			node.Pause()
		}
	}
	redistest.Eventually(t, "the breaker to open", func() bool {
		_, err := incr(t.Context(), conn, "a")
		status := conn.Status()
		return err != nil && !status.Up && strings.Contains(status.Err.Error(), "CLUSTERDOWN")
	})
	for _, node := range cluster.Nodes {
		node.Resume()
	}
	waitUp(t, conn, "a")
}
