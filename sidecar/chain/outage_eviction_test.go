package chain

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestEvictionIsReported: a sidecar reports a Redis that may delete its keys, and serves.
func TestEvictionIsReported(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{Args: []string{"--maxmemory-policy", "allkeys-lfu"}})
	s := newWorld(t).sidecars(1, server.Addr, nil)[0]
	redistest.Eventually(t, "the report", func() bool {
		problems := s.shared.Problems()
		return len(problems) == 1 && problems[0].Reason == "RedisEvicts" && strings.Contains(problems[0].Message, "allkeys-lfu")
	})
	if g := s.use(s.login("ada")); g.status != 200 {
		t.Errorf("%d %s", g.status, g.text)
	}
}
