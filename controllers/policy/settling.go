package policy

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/status"
)

// settleTime is how long a status waits for the sidecars' reports after a write that changes only the revocations. Sidecars
// report in a fraction of it. Until then the status describes the previous document, as its field document says. Without the
// delay, each revocation would set Enforced to False for a moment, although everything that the policy demands is enforced.
const settleTime = 2 * time.Second

// settling remembers the policies whose statuses wait for sidecars to report.
type settling struct {
	mu    sync.Mutex
	waits map[types.NamespacedName]*wait
}

// wait ends at a fixed time, however many documents follow, so that another problem is reported at most settleTime later.
type wait struct {
	until time.Time
	// before are the hashes of the documents that were replaced during the wait.
	before []string
}

func newSettling() *settling { return &settling{waits: map[types.NamespacedName]*wait{}} }

// replaced records that next replaced last at now. The status waits only if the two differ in nothing but revocations.
func (s *settling) replaced(name types.NamespacedName, last *document, next *compiled.Policy, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waits[name]
	switch {
	case last == nil || !sameButRevocations(last.policy, next):
		delete(s.waits, name)
		return
	case w == nil:
		w = &wait{until: now.Add(settleTime)}
		s.waits[name] = w
	}
	w.before = append(w.before, last.hash)
}

// remaining returns how long the status still waits for pods that run a replaced document; 0 if it does not wait.
func (s *settling) remaining(name types.NamespacedName, pods []status.Pod, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waits[name]
	if w == nil {
		return 0
	}
	behind := slices.ContainsFunc(pods, func(pod status.Pod) bool {
		return pod.Bound == name.Name && pod.Report != nil && slices.Contains(w.before, pod.Report.Hash)
	})
	if left := w.until.Sub(now); behind && left > 0 {
		return left
	}
	delete(s.waits, name)
	return 0
}

func (s *settling) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, name)
}

// sameButRevocations reports whether two documents are equal except for their revisions and revoked tokens.
func sameButRevocations(a, b *compiled.Policy) bool {
	x, y := *a, *b
	x.RevokedTokens, y.RevokedTokens = nil, nil
	return sameDocument(&x, &y)
}
