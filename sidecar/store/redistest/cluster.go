package redistest

import (
	"context"
	"net"
	"strings"
	"testing"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// Cluster is three masters without replicas.
type Cluster struct {
	Nodes []*Server
	// Addrs are the nodes' addresses.
	Addrs []string
}

// StartCluster runs three masters that share the slots. If one node stops, only its slots fail.
func StartCluster(tb testing.TB, password string) *Cluster {
	tb.Helper()
	c := &Cluster{}
	bus := map[*Server]string{}
	for range 3 {
		var busPort string
		node := start(tb, Options{Password: password}, func(string) []string {
			busPort = freePort(tb)
			return []string{"--cluster-enabled", "yes", "--cluster-port", busPort, "--cluster-require-full-coverage", "no",
				"--cluster-config-file", "nodes-" + busPort + ".conf", "--cluster-node-timeout", "2000"}
		})
		bus[node] = busPort
		c.Nodes, c.Addrs = append(c.Nodes, node), append(c.Addrs, node.Addr)
	}
	for i, node := range c.Nodes {
		node.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		host, port, err := net.SplitHostPort(node.Addr)
		if err != nil {
			tb.Fatal(err)
		}
		c.Nodes[0].Do("CLUSTER", "MEET", host, port, bus[node])
	}
	Eventually(tb, "cluster to form", c.formed)
	return c
}

// formed reports whether every node knows the owner of every slot.
func (c *Cluster) formed() bool {
	for _, node := range c.Nodes {
		client := node.Client()
		info, err := client.ClusterInfo(context.Background()).Result()
		client.Close()
		if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
			return false
		}
	}
	return true
}

// Owner returns the node that holds key.
func (c *Cluster) Owner(key string) *Server {
	slot, ok := c.Nodes[0].Do("CLUSTER", "KEYSLOT", key).(int64)
	if !ok {
		c.Nodes[0].tb.Fatal("CLUSTER KEYSLOT did not return a number")
	}
	for i, node := range c.Nodes {
		if int(slot) < (i+1)*slots/3 {
			return node
		}
	}
	return nil
}
