package policy

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/status"
)

// answerTime is how long a status waits for the sidecars after a write that changes only what is revoked. They answer in a
// fraction of it. Until then the status is still about the document before, as its field document says; without that, each
// revocation would make Enforced False for a moment, though nothing that the policy asks for is missing.
const answerTime = 2 * time.Second

// patience remembers the policies whose statuses wait.
type patience struct {
	mu    sync.Mutex
	waits map[types.NamespacedName]*wait
}

// wait ends at a fixed time, however many documents follow: what else goes wrong is told at most answerTime later.
type wait struct {
	until time.Time
	// before are the hashes of the documents that were replaced meanwhile.
	before []string
}

func newPatience() *patience { return &patience{waits: map[types.NamespacedName]*wait{}} }

// replaced notes that next takes the place of last at that time.
func (p *patience) replaced(name types.NamespacedName, last *document, next *compiled.Policy, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waits[name]
	switch {
	case last == nil || !sameButRevocations(last.policy, next):
		delete(p.waits, name)
		return
	case w == nil:
		w = &wait{until: now.Add(answerTime)}
		p.waits[name] = w
	}
	w.before = append(w.before, last.hash)
}

// left returns how long the status still waits for pods that run a document from before; 0 where it does not.
func (p *patience) left(name types.NamespacedName, pods []status.Pod, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waits[name]
	if w == nil {
		return 0
	}
	behind := slices.ContainsFunc(pods, func(pod status.Pod) bool {
		return pod.Bound == name.Name && pod.Report != nil && slices.Contains(w.before, pod.Report.Hash)
	})
	if left := w.until.Sub(now); behind && left > 0 {
		return left
	}
	delete(p.waits, name)
	return 0
}

func (p *patience) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waits, name)
}

// sameButRevocations reports whether two documents ask for the same of every request whose token is not revoked.
func sameButRevocations(a, b *compiled.Policy) bool {
	x, y := *a, *b
	x.RevokedTokens, y.RevokedTokens = nil, nil
	return sameDocument(&x, &y)
}
