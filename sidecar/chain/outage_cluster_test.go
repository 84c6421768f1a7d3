package chain

import (
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestClusterFailover: once a Cluster has promoted a replica, a sidecar serves everything again, and reports no problem, although
// the old master stays down.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "hanging": (*redistest.Server).Pause} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartReplicatedCluster(t, "")
			onCluster := func(p *compiled.Policy) {
				briefly(p)
				p.Redis.Mode, p.Redis.Addresses, p.Redis.Timeout = "Cluster", cluster.Addrs, compiled.Duration(250*time.Millisecond)
			}
			both := newWorld(t).sidecars(2, "", onCluster)
			ada := both[0].login("ada")
			i := cluster.Index("{4:shop}") // the revocations
			for _, node := range cluster.Nodes {
				node.Do("WAIT", 1, 5000)
			}
			fail(cluster.Nodes[i])
			redistest.Eventually(t, "the sidecars to notice", func() bool { return both[0].use(ada).status == 503 && both[1].use(ada).status == 503 })
			redistest.Eventually(t, "a replica to be promoted", cluster.Replicas[i].IsMaster)
			for _, s := range both {
				redistest.Eventually(t, "recovery", func() bool {
					st, _ := s.shared.Redis()
					return st.Up && len(s.shared.Problems()) == 0 && s.use(ada).status == 200
				})
			}
			redistest.Eventually(t, "a revocation to be accepted", func() bool {
				return both[0].loopback("POST", "/v1/revocations", `{"token_id":"`+claim(t, ada.access, "jti")+`"}`).status == 200
			})
			redistest.Eventually(t, "the revocation to be known", func() bool { return both[1].use(ada).word() == "401 token-revoked" })
		})
	}
}
