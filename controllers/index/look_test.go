package index

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posterndev/postern/api/v1alpha1"
)

// server lists the policies that were applied before a read began, and takes as long as the API server does beside writes: until its
// next tick. No informer brings a policy before that.
type server struct {
	x              *Index
	mu             sync.Mutex
	applied        []Key
	calls, running atomic.Int64
	most           int64
}

const tick = 100 * time.Millisecond

func (s *server) Keys(context.Context, string) ([]Key, error) {
	s.calls.Add(1)
	running := s.running.Add(1)
	defer s.running.Add(-1)
	s.mu.Lock()
	s.most = max(s.most, running)
	applied := s.applied[:len(s.applied):len(s.applied)]
	s.mu.Unlock()
	now := time.Now()
	time.Sleep(now.Truncate(tick).Add(tick).Sub(now))
	return applied, nil
}

// apply makes a policy known to reads that begin from now on, and to the informer later.
func (s *server) apply(p *v1alpha1.SecurityPolicy) {
	s.mu.Lock()
	s.applied = append(s.applied, Key{p.Name, p.UID, p.Generation})
	s.mu.Unlock()
	time.AfterFunc(2*tick, func() { s.x.OnAdd(p, false) })
}

// TestNoPodMissesAPolicy applies a policy every few milliseconds, and each time a pod that it selects follows at once. So reads of others
// are in progress all the time, and none of those that began before may answer. It also checks what the reads cost, and how long a pod
// waits for its own.
func TestNoPodMissesAPolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		policies    int
		wantOverlap int64
		// wantWait is until a read of the pod's own begins, and the tick that ends it.
		wantWait time.Duration
	}{
		"few policies":  {10, overlap, 2 * tick},
		"many policies": {200, overlap, 2 * tick},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{}
				s.x = newIndex(t, s)
				for i := range tc.policies {
					p := policy(fmt.Sprintf("old-%d", i), 2)
					s.apply(p)
					s.x.OnAdd(p, true)
				}
				begun := time.Now()
				var pods sync.WaitGroup
				for i := range 60 {
					name := fmt.Sprintf("new-%d", i)
					s.apply(policy(name, 1))
					pods.Go(func() {
						called := time.Now()
						if got := selected(t, s.x, name); got != name {
							t.Errorf("pod %d gets policy %q", i, got)
						}
						// The informer is behind the read for two ticks.
						if waited := time.Since(called); waited > tc.wantWait+2*tick {
							t.Errorf("pod %d waited for %s", i, waited)
						}
					})
					time.Sleep(7 * time.Millisecond)
				}
				pods.Wait()
				if s.most != tc.wantOverlap {
					t.Errorf("%d reads were in progress at once, want %d", s.most, tc.wantOverlap)
				}
				if n, most := s.calls.Load(), int64(time.Since(begun)/pace)+1; n > most {
					t.Errorf("%d reads in %s, want at most %d", n, time.Since(begun), most)
				}
				time.Sleep(time.Second) // the lanes and the informer end
			})
		})
	}
}
