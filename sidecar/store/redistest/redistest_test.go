package redistest

import "testing"

func TestServer(t *testing.T) {
	tests := map[string]Options{
		"plain":      {},
		"password":   {Password: "s3cret"},
		"TLS":        {TLS: true, Password: "s3cret"},
		"mutual TLS": {TLS: true, ClientTLS: true},
		"arguments":  {Args: []string{"--maxmemory", "2mb"}},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, o)
			s.Do("SET", "k", "v")
			if got := s.Do("GET", "k"); got != "v" {
				t.Errorf("GET = %v", got)
			}
			s.Restart()
			if got := s.Do("EXISTS", "k"); got != int64(0) {
				t.Errorf("a restarted server still has its data: %v", got)
			}
		})
	}
}

func TestClusterForms(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, "s3cret")
	c.Owner("{a}b").Do("SET", "{a}b", "v")
}

func TestSentinelIsReady(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t, "s3cret", "s3ntinel")
	s.Watcher.Do("SENTINEL", "ckquorum", MasterName)
}
