package verify

import (
	"fmt"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
)

// Cut continues after records that were removed because their retention has passed. It comes before the first record of its writer that
// was not removed; later cuts of a writer may follow. Signed checkpoints must show that the retention of the records has passed: the one of the
// cut, or others. Records that no checkpoint covers could be removed unnoticed in any case.
func (v *Verifier) Cut(c hashchain.Cut) {
	w := v.writer(c.Writer)
	if c.Size <= w.size {
		return
	}
	v.summary.Removed += c.Size - w.size
	tree, err := hashchain.Resume(c.Size, c.State)
	if err != nil && len(c.State) > 0 {
		v.found(Finding{Kind: Malformed, Writer: w.id, First: c.Size, Last: c.Size, Detail: fmt.Sprintf("what audit_pruned has of it: %v", err)})
	}
	v.forget(w, 0)
	w.resume(c, tree)
	if c.Checkpoint == "" {
		return
	}
	switch signed, ok := v.open([]byte(c.Checkpoint)); {
	case !ok:
	case signed.Writer != w.id:
		v.found(Finding{Kind: Forged, Writer: w.id, First: 1, Last: c.Size, Detail: "audit_pruned has a checkpoint of another writer for them"})
	default:
		v.expect(w, signed)
	}
}
