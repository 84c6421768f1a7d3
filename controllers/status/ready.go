package status

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// stalling are the reasons that end only when somebody changes a policy. The others may pass while objects are being applied: the
// class or the namespace's label can come later than the policy.
var stalling = []string{v1alpha1.ReasonInvalid, v1alpha1.ReasonConflicted}

// summary returns the two conditions by which tools know whether an object was applied with success, in the convention of kstatus.
// Ready is True if the policy is accepted and its document is written. Stalled is True if it will not become ready by itself. Neither
// depends on pods: a policy is often applied together with them, and before them.
func summary(conditions []metav1.Condition) []metav1.Condition {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "the policy is valid and its document is written",
	}
	stalled := metav1.Condition{
		Type: v1alpha1.ConditionStalled, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotStalled,
		Message: "nobody has to change the policy",
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed} {
		c := meta.FindStatusCondition(conditions, kind)
		if c.Status == metav1.ConditionTrue {
			continue
		}
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, c.Reason, c.Message
		if slices.Contains(stalling, c.Reason) {
			stalled.Status, stalled.Reason, stalled.Message = metav1.ConditionTrue, c.Reason, c.Message
		}
		break
	}
	return []metav1.Condition{ready, stalled}
}

// revocationSummary is summary for a TokenRevocation. One that has expired is ready: it did what it was for, and may stay in a
// repository. Stalled is True only if documents are full, because a policy can come later than its revocations.
func revocationSummary(accepted metav1.Condition, t tally) []metav1.Condition {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
		Message: "the revocation is valid, and the documents of its policies have it",
	}
	switch {
	case accepted.Reason == v1alpha1.ReasonExpired:
		ready.Reason, ready.Message = accepted.Reason, accepted.Message
	case accepted.Status != metav1.ConditionTrue:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, accepted.Reason, accepted.Message
	case len(t.missing) > 0:
		ready.Status, ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonNotProgrammed
		ready.Message = fmt.Sprintf("the document of %s does not have it yet", policyNames(t.missing))
	}
	return []metav1.Condition{ready, stalledBy(ready, v1alpha1.ReasonTooMany)}
}

// OfClass returns the conditions of a SidecarClass whose condition Accepted is given.
func OfClass(accepted metav1.Condition) []metav1.Condition {
	ready := accepted
	ready.Type = v1alpha1.ConditionReady
	if ready.Status == metav1.ConditionTrue {
		ready.Reason = v1alpha1.ReasonReady
	}
	return []metav1.Condition{accepted, ready, stalledBy(ready, stalling...)}
}

// stalledBy returns Stalled, which is True if Ready is False for a reason that ends only when somebody changes something.
func stalledBy(ready metav1.Condition, reasons ...string) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionStalled, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotStalled, ObservedGeneration: ready.ObservedGeneration,
		Message: "nobody has to change the object",
	}
	if ready.Status != metav1.ConditionTrue && slices.Contains(reasons, ready.Reason) {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, ready.Reason, ready.Message
	}
	return c
}
