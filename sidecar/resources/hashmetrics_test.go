package resources

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// TestBacklogIsAMetric: a hash in progress is in the metric, and a computed one is not.
func TestBacklogIsAMetric(t *testing.T) {
	hasher, err := password.New(password.Config{Algorithm: password.Bcrypt, BcryptCost: 12})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	if err := registerBacklog(registry, func() []*password.Hasher { return []*password.Hasher{hasher} }); err != nil {
		t.Fatal(err)
	}
	backlog := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	if backlog() != 0 {
		t.Error("there is a backlog before the first hash")
	}
	done := make(chan error, 1)
	go func() { // several, so that one is in progress when the metric is read
		var err error
		for range 3 {
			if _, hashErr := hasher.Hash(t.Context(), "correct horse battery staple"); hashErr != nil {
				err = hashErr
			}
		}
		done <- err
	}()
	seen := false
	for ended := false; !ended; {
		select {
		case err := <-done:
			if ended = true; err != nil {
				t.Fatal(err)
			}
		default:
			seen = seen || backlog() > 0
			time.Sleep(time.Millisecond)
		}
	}
	if !seen || backlog() != 0 {
		t.Errorf("a hash in progress was seen: %t; backlog %v after the last", seen, backlog())
	}
}
