package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/posterndev/postern/test/freeport"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// Cluster is three masters, without replicas or with one each.
type Cluster struct {
	// Nodes are the masters. Replicas are theirs, in the same order.
	Nodes, Replicas []*Server
	// Addrs are the nodes' addresses.
	Addrs []string
}

// StartCluster runs three masters that share the slots. If one node stops, only its slots fail.
func StartCluster(tb testing.TB, password string) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for i := range 3 {
		node, bus := startNode(tb, password)
		c.Nodes, c.Addrs = append(c.Nodes, node), append(c.Addrs, node.Addr)
		node.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		c.meet(node, bus)
	}
	Eventually(tb, "cluster to form", c.formed)
	return c
}

// StartReplicatedCluster runs three masters with one replica each. A replica is promoted some seconds after its master has stopped.
func StartReplicatedCluster(tb testing.TB, password string) *Cluster {
	tb.Helper()
	c := StartCluster(tb, password)
	for range c.Nodes {
		node, bus := startNode(tb, password)
		c.Replicas = append(c.Replicas, node)
		c.meet(node, bus)
	}
	Eventually(tb, "the replicas to join", func() bool { return c.known("cluster_known_nodes:6", c.Replicas...) })
	for i, replica := range c.Replicas {
		replica.Do("CLUSTER", "REPLICATE", c.Nodes[i].Do("CLUSTER", "MYID"))
	}
	for i, replica := range c.Replicas {
		Eventually(tb, "a replica to be synchronised", func() bool {
			listed := fmt.Sprint(c.Nodes[(i+1)%3].Do("CLUSTER", "REPLICAS", c.Nodes[i].Do("CLUSTER", "MYID")))
			return replica.synchronised() && strings.Contains(listed, replica.Addr)
		})
	}
	return c
}

func startNode(tb testing.TB, password string) (node *Server, bus string) {
	tb.Helper()
	node = start(tb, Options{Password: password, Args: []string{"--masterauth", password, "--repl-diskless-sync-delay", "0"}}, func(string) []string {
		bus = freeport.Port(tb)
		return []string{"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no",
			"--cluster-config-file", "nodes-" + bus + ".conf", "--cluster-node-timeout", "2000"}
	})
	return node, bus
}

// meet makes node a member.
func (c *Cluster) meet(node *Server, bus string) {
	host, port, err := net.SplitHostPort(node.Addr)
	if err != nil {
		node.tb.Fatal(err)
	}
	c.Nodes[0].Do("CLUSTER", "MEET", host, port, bus)
}

// known reports whether every one of nodes says text about the cluster.
func (c *Cluster) known(text string, nodes ...*Server) bool {
	for _, node := range nodes {
		client := node.Client()
		info, err := client.ClusterInfo(context.Background()).Result()
		client.Close()
		if err != nil || !strings.Contains(info, text) {
			return false
		}
	}
	return true
}

// formed reports whether every node knows the owner of every slot.
func (c *Cluster) formed() bool {
	return c.known("cluster_state:ok", c.Nodes...) && c.known("cluster_slots_ok:16384", c.Nodes...)
}

// Index returns the index of the master that held key at first, in Nodes and Replicas.
func (c *Cluster) Index(key string) int {
	slot, ok := c.Nodes[0].Do("CLUSTER", "KEYSLOT", key).(int64)
	if !ok {
		c.Nodes[0].tb.Fatal("CLUSTER KEYSLOT did not return a number")
	}
	for i := range c.Nodes {
		if int(slot) < (i+1)*slots/3 {
			return i
		}
	}
	return -1
}

// Owner returns the node that holds key, if no other was promoted.
func (c *Cluster) Owner(key string) *Server { return c.Nodes[c.Index(key)] }
