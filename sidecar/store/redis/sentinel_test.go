package redis

import (
	"context"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// peer is what a Sentinel says about another one.
func peer(addr, flags string) string {
	host, port, _ := strings.Cut(addr, ":")
	return array("name", "x", "ip", host, "port", port, "flags", flags)
}

// sentinelOf replies as a Sentinel that names master and knows others.
func sentinelOf(master string, others ...string) func([]string) string {
	host, port, _ := strings.Cut(master, ":")
	return func(args []string) string {
		if strings.EqualFold(args[1], "sentinels") {
			return "*" + string(rune('0'+len(others))) + strings.Join(append([]string{""}, others...), "\r\n")
		}
		return array(host, port)
	}
}

func TestSentinelsWord(t *testing.T) {
	t.Parallel()
	const a, b = "127.0.0.1:1", "127.0.0.1:2"
	up, down, away := peer("127.0.0.1:11", "sentinel"), peer("127.0.0.1:12", "s_down,sentinel,disconnected"), peer("127.0.0.1:13", "sentinel,disconnected")
	tests := map[string]struct {
		replies       []func([]string) string
		want, wantErr string
	}{
		"a single one":                    {replies: []func([]string) string{sentinelOf(a)}, want: a},
		"all reach each other":            {replies: []func([]string) string{sentinelOf(a, up, up)}, want: a},
		"one of three is down":            {replies: []func([]string) string{sentinelOf(a, up, down)}, want: a},
		"cut off from the others":         {replies: []func([]string) string{sentinelOf(a, down, away)}, wantErr: "reaches 0 of the 2 other sentinels"},
		"half of them":                    {replies: []func([]string) string{sentinelOf(a, up, down, down)}, wantErr: "reaches 1 of the 3 other sentinels"},
		"one is cut off, another is not":  {replies: []func([]string) string{sentinelOf(a, down, away), sentinelOf(b, up, down)}, want: b},
		"an unknown master":               {replies: []func([]string) string{func([]string) string { return "*-1" }}, wantErr: `knows no master "main"`},
		"a reply that is not an address":  {replies: []func([]string) string{func([]string) string { return array("x") }}, wantErr: "not an address"},
		"an error":                        {replies: []func([]string) string{func([]string) string { return "-NOPERM no" }}, wantErr: "NOPERM"},
		"an error, and one that responds": {replies: []func([]string) string{func([]string) string { return "-ERR x" }, sentinelOf(b)}, want: b},
		"no flags count as not reached":   {replies: []func([]string) string{sentinelOf(a, peer("127.0.0.1:11", ""))}, wantErr: "reaches 0 of the 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var addrs []string
			for _, reply := range tt.replies {
				addrs = append(addrs, startFake(t, reply).addr)
			}
			c, err := Config{Mode: Sentinel, Addresses: addrs, MasterName: "main", Timeout: generous}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			s := newSentinels(c, &dialer{timeout: generous})
			defer s.close()
			got, err := s.master(t.Context())
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("master = %q, %v; want %q, an error with %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

// TestOtherSentinelsAreFound: a Sentinel that is not configured is asked after the configured one has failed.
func TestOtherSentinelsAreFound(t *testing.T) {
	t.Parallel()
	other := startFake(t, sentinelOf("127.0.0.1:2", peer("127.0.0.1:11", "sentinel")))
	configured := startFake(t, sentinelOf("127.0.0.1:1", peer(other.addr, "sentinel")))
	s := newSentinels(Config{Addresses: []string{configured.addr}, MasterName: "main", Timeout: generous}, &dialer{timeout: generous})
	defer s.close()
	if got, err := s.master(t.Context()); got != "127.0.0.1:1" || err != nil {
		t.Fatalf("master = %q, %v", got, err)
	}
	refuse := func([]string) string { return "-ERR x" }
	configured.reply.Store(&refuse)
	if got, err := s.master(t.Context()); got != "127.0.0.1:2" || err != nil {
		t.Errorf("master = %q, %v; want that of the other Sentinel", got, err)
	}
}

// TestMovesToTheMasterOfTheSentinels: a master that is cut off takes writes, but reads from it are no proof.
func TestMovesToTheMasterOfTheSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, "s3cret", "")
	conn := openUp(t, Config{Mode: Sentinel, Addresses: s.Addrs, MasterName: redistest.MasterName, Password: newPassword("s3cret"), Timeout: generous})
	prove := func() (doubt, err error) {
		return conn.Prove(t.Context(), "probe", func(ctx context.Context, p goredis.Pipeliner) { p.Get(ctx, "x") })
	}
	if doubt, err := prove(); doubt != nil || err != nil {
		t.Fatalf("before: %v, %v", doubt, err)
	}
	s.CutOff()
	if doubt, err := prove(); err == nil && (doubt == nil || !strings.Contains(doubt.Error(), s.Replica.Addr)) {
		t.Errorf("a master that the Sentinels do not name: doubt %v", doubt)
	}
	redistest.Eventually(t, "a write at the other master", func() bool {
		_, _ = incr(t.Context(), conn, "k")
		return s.Replica.Do("EXISTS", "k") == int64(1)
	})
	redistest.Eventually(t, "proof", func() bool { doubt, err := prove(); return doubt == nil && err == nil })
}
