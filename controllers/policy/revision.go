package policy

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// revisions remembers the newest revision of every policy's document that this process wrote or read from the policy's status.
// So a revision never decreases, even if somebody restores an old, validly signed document in the ConfigMap.
type revisions struct {
	mu      sync.Mutex
	written map[types.NamespacedName]int64
}

func newRevisions() *revisions {
	return &revisions{written: map[types.NamespacedName]int64{}}
}

// next returns the revision of a new document: now in milliseconds, or one more than the previous revision if that is higher.
func (r *revisions) next(name types.NamespacedName, stored *document, now time.Time) int64 {
	revision := max(now.UnixMilli(), r.last(name)+1)
	if stored != nil {
		revision = max(revision, stored.policy.Revision+1)
	}
	return revision
}

func (r *revisions) last(name types.NamespacedName) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written[name]
}

func (r *revisions) wrote(name types.NamespacedName, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written[name] = max(r.written[name], revision)
}

func (r *revisions) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.written, name)
}
