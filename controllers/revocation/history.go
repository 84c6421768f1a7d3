package revocation

import (
	"sync"

	"github.com/posterndev/postern/api/compiled"
)

// maxSeen bounds how many documents of a policy are remembered: a sidecar that runs an older one is outdated.
const maxSeen = 64

// history remembers the documents of the namespaces that have revocations.
type history struct {
	mu         sync.Mutex
	namespaces map[string]map[string]*past
}

// past is what is known about one policy's documents. One reconcile at a time uses that of a namespace.
type past struct {
	// present is the newest document; nil if the stored one is older (somebody restored it) or missing.
	present *compiled.Policy
	// newest is the highest revision seen so far.
	newest int64
	shadow bool
	// revisions are those of the last documents, by hash, and hashes the same hashes in order.
	revisions map[string]int64
	hashes    []string
	// since is the first revision from which every document seen contains the entry, in the current document's mode.
	since map[compiled.RevokedTokens]int64
}

func newHistory() *history { return &history{namespaces: map[string]map[string]*past{}} }

// see records the current documents of a namespace's policies, forgets policies that have none, and returns what is known.
func (h *history) see(namespace string, documents map[string]document) map[string]*past {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, after := h.namespaces[namespace], map[string]*past{}
	for policy, d := range documents {
		p := before[policy]
		if p == nil {
			p = &past{revisions: map[string]int64{}, since: map[compiled.RevokedTokens]int64{}}
		}
		p.see(d)
		after[policy] = p
	}
	h.namespaces[namespace] = after
	return after
}

func (h *history) forget(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.namespaces, namespace)
}

func (p *past) see(d document) {
	p.present = nil
	if d.policy.Revision < p.newest {
		return
	}
	shadow := inShadow(d.policy)
	if d.policy.Deleted || shadow != p.shadow {
		clear(p.since) // earlier documents did not refuse what this one refuses, or the reverse
	}
	p.newest, p.shadow = d.policy.Revision, shadow
	if d.policy.Deleted {
		return
	}
	p.present = d.policy
	for _, hash := range append([]string{d.hash}, d.held...) {
		p.remember(hash, d.policy.Revision)
	}
	since := make(map[compiled.RevokedTokens]int64, len(d.policy.RevokedTokens))
	for _, entry := range d.policy.RevokedTokens {
		since[entry] = d.policy.Revision
		if first, ok := p.since[entry]; ok {
			since[entry] = first
		}
	}
	p.since = since
}

func (p *past) remember(hash string, revision int64) {
	if _, seen := p.revisions[hash]; seen {
		return
	}
	p.revisions[hash] = revision
	if p.hashes = append(p.hashes, hash); len(p.hashes) > maxSeen {
		delete(p.revisions, p.hashes[0])
		p.hashes = p.hashes[1:]
	}
}

// carries returns the first revision from which all documents contain all entries; 0 if the current document does not.
func (p *past) carries(entries []compiled.RevokedTokens) int64 {
	if p == nil || p.present == nil {
		return 0
	}
	last := int64(0)
	for _, entry := range entries {
		first, ok := p.since[entry]
		if !ok {
			return 0
		}
		last = max(last, first)
	}
	return last
}

// running returns the revision of the document with that hash; 0 if it was never seen.
func (p *past) running(hash string) int64 {
	if p == nil {
		return 0
	}
	return p.revisions[hash]
}

// inShadow reports whether a sidecar with this document counts revoked tokens without refusing them.
func inShadow(p *compiled.Policy) bool {
	return p.Mode == compiled.Shadow || p.Revocation != nil && p.Revocation.Mode == compiled.Shadow
}
