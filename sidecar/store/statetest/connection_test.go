package statetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

func connect(t *testing.T, c redis.Config) *redis.Conn {
	t.Helper()
	metrics, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.Username, c.Password, c.Timeout = All, password(Password), 5*time.Second
	c.ProbeKey = ProbeKey
	conn, err := redis.Open(c, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	redistest.Eventually(t, "the connection to be up", func() bool { return conn.Status().Up })
	return conn
}

var (
	date  = keyspace.New("token", "shop/orders").Key("key", "k1")
	write = goredis.NewScript("return redis.call('SET', KEYS[1], '1', 'EX', 60)")
)

// set runs a script that the server has not cached yet.
func set(ctx context.Context, conn *redis.Conn) error {
	return conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return write.Run(ctx, client, []string{date}).Err()
	})
}

func wantNoRefusal(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	for _, s := range servers {
		for _, entry := range list(s.Do("ACL", "LOG")) {
			t.Errorf("refused: %v", entry)
		}
	}
}

// TestConnection: every general command of the page is used, and connections in every mode need no other.
func TestConnection(t *testing.T) {
	page, called := Read(t), map[string]bool{}
	server := redistest.Start(t, redistest.Options{})
	page.Grant(t, All, server)
	if err := set(t.Context(), connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Database: 1})); err != nil {
		t.Error(err)
	}
	addCalled(t, server, called)
	wantNoRefusal(t, server)

	cluster := redistest.StartCluster(t, "s3cret")
	page.Grant(t, All, cluster.Nodes...)
	conn := connect(t, redis.Config{Mode: redis.Cluster, Addresses: cluster.Addrs})
	migrate(t, cluster)
	if err := set(t.Context(), conn); err != nil {
		t.Error(err)
	}
	for _, node := range cluster.Nodes {
		addCalled(t, node, called)
	}
	wantNoRefusal(t, cluster.Nodes...)
	for _, command := range page.General {
		if !called[command] {
			t.Errorf("%s was not called", command)
		}
	}
}

// migrate starts the migration of the slot of date, so that its owner replies ASK.
func migrate(t *testing.T, cluster *redistest.Cluster) {
	t.Helper()
	from := cluster.Owner(date)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	slot := from.Do("CLUSTER", "KEYSLOT", date)
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do("CLUSTER", "MYID"))
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do("CLUSTER", "MYID"))
}

// TestSentinels: the ACL line for sentinels is sufficient to find the master and to follow a failover.
func TestSentinels(t *testing.T) {
	page, s := Read(t), redistest.StartSentinel(t, "s3cret", Password)
	page.Grant(t, All, s.Master, s.Replica)
	// From here on the default user may not read the ACL log.
	s.Watcher.Do("ACL", "SETUSER", "admin", "reset", "on", ">"+Password, "allcommands", "allkeys", "allchannels")
	args := []any{"ACL", "SETUSER", Sentinels}
	for _, rule := range page.Rules(Sentinels) {
		if rule == ">PASSWORD" {
			rule = ">" + Password
		}
		args = append(args, rule)
	}
	s.Watcher.Do(args...)
	conn := connect(t, redis.Config{Mode: redis.Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName, SentinelPassword: password(Password)})
	if err := set(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	s.Master.Do("WAIT", 1, 5000)
	s.Master.Stop()
	redistest.Eventually(t, "the new master to be written to", func() bool { return set(t.Context(), conn) == nil })
	admin := goredis.NewClient(&goredis.Options{Addr: s.Watcher.Addr, Username: "admin", Password: Password, DisableIdentity: true, Protocol: 2})
	defer admin.Close()
	refusals, err := admin.Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(refusals) > 0 {
		t.Errorf("refused by the sentinel: %v, %v", refusals, err)
	}
	if entries := list(s.Replica.Do("ACL", "LOG")); len(entries) > 0 {
		t.Errorf("refused by the new master: %s", fmt.Sprint(entries...))
	}
}
