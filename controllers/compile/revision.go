package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// maxRevision is the largest revision that is believed: milliseconds since 1970, exact in every JSON parser. A status is
// written by more people than the operator, and a higher one could never be exceeded.
const maxRevision = 1 << 53

// RecordedRevision returns the revision that the policy's status records; 0 where it records none that makes sense.
func RecordedRevision(policy *v1alpha1.SecurityPolicy) int64 {
	if r := policy.Status.Revision; r > 0 && r < maxRevision {
		return r
	}
	return 0
}

// Current returns last where it is the policy's present document; nil where the status records a newer one: somebody put
// an old document back.
func Current(policy *v1alpha1.SecurityPolicy, last *compiled.Policy) *compiled.Policy {
	if last == nil || last.Revision < RecordedRevision(policy) {
		return nil
	}
	return last
}

// FirstRevision is the lowest revision of any document of the policy: the time of its creation. Documents that a deleted policy of
// the same name left are below it.
func FirstRevision(policy *v1alpha1.SecurityPolicy) int64 {
	return max(policy.CreationTimestamp.UnixMilli(), 0) // without a time the sum is negative
}

// Floor returns the lowest revision that a pod of the policy accepts which is created now. last is what the ConfigMap holds; nil
// stands for none, and then the policy's first document is expected. That a deleted policy of the same name left is below the
// floor: it would open the pods of the new one.
func Floor(policy *v1alpha1.SecurityPolicy, last *compiled.Policy) int64 {
	floor := RecordedRevision(policy)
	switch {
	case last == nil && floor == 0:
		floor = FirstRevision(policy)
	case last == nil:
	case last.Deleted:
		floor = max(floor, last.Revision+1)
	default:
		floor = max(floor, last.Revision)
	}
	return floor
}
