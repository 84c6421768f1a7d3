package policy

import (
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// hold returns the documents to store beside next, for sidecars that cannot read its schema version. For each such sidecar it
// selects the newest stored document that the sidecar can read, and updates the revocations in it. A sidecar that has not
// reported is assumed to read only version 1. Documents that do not fit into the ConfigMap are left out: such sidecars keep the
// document that they have in memory.
func hold(o *observation, next *compiled.Policy, now time.Time) []*compiled.Policy {
	if next == nil || o.stored == nil || o.stored.policy.Deleted {
		return nil
	}
	needed := map[*document]bool{}
	candidates := append([]*document{o.stored}, o.held...)
	for i := range o.pods {
		pod := &o.pods[i]
		if bound, _ := deliver.BoundPolicy(pod); bound != o.name.Name || status.Finished(pod) {
			continue
		}
		reads := 1
		if report, ok := deliver.ReportFrom(pod); ok {
			reads = report.Reads()
		}
		if reads >= next.SchemaVersion {
			continue
		}
		for _, d := range candidates {
			if d.policy.SchemaVersion <= reads && d.policy.SchemaVersion < next.SchemaVersion {
				needed[d] = true
				break
			}
		}
	}
	var out []*compiled.Policy
	left := compiled.MaxSize - sizeOf(next)
	for _, d := range candidates {
		if !needed[d] {
			continue
		}
		renewed, _ := compile.Renew(d.policy, o.revocations, now)
		if left -= sizeOf(renewed); left < 0 {
			break
		}
		out = append(out, renewed)
	}
	return out
}

// signatureSize bounds what a signature, the revision and the keys add to a document, in bytes.
const signatureSize = 512

func sizeOf(p *compiled.Policy) int {
	b, err := compiled.Encode(p)
	if err != nil {
		return compiled.MaxSize // the document alone is too large
	}
	return len(b) + signatureSize
}

// withHeld returns copies of the held documents, with change applied to each.
func withHeld(o *observation, change func(*compiled.Policy)) []*compiled.Policy {
	var out []*compiled.Policy
	for _, d := range o.held {
		changed := *d.policy
		change(&changed)
		out = append(out, &changed)
	}
	return out
}
