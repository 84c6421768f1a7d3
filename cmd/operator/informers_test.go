package main

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// syncing is a cache whose informers are synced when the channel is closed.
type syncing struct {
	cache.Cache
	synced chan struct{}
}

func (s syncing) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-s.synced:
		return true
	case <-ctx.Done():
		return false
	}
}

// TestReadyWhenInformersAreSynced checks that a replica gets no reviews before it knows the policies.
func TestReadyWhenInformersAreSynced(t *testing.T) {
	s := syncing{synced: make(chan struct{})}
	informers := &informersSynced{cache: s}
	if informers.NeedLeaderElection() {
		t.Error("a replica that does not lead is never ready")
	}
	ended := make(chan error, 1)
	go func() { ended <- informers.Start(t.Context()) }()
	if informers.Ready(nil) == nil {
		t.Error("it is ready before the informers are synced")
	}
	close(s.synced)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := informers.Ready(nil); err != nil {
		t.Errorf("it is not ready with synced informers: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := &informersSynced{cache: syncing{synced: make(chan struct{})}}
	if err := never.Start(ctx); err != nil || never.Ready(nil) == nil {
		t.Errorf("it is ready although the informers never synced (%v)", err)
	}
}
