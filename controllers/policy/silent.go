package policy

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// confirmed returns when the pod's sidecar last confirmed its report; false if it has not reported. o.since is when this process
// started: while no operator ran, no sidecar could report, so that time does not count. But what the status already says was found by an
// operator that ran, so a restart does not make a report valid again.
func confirmed(o *observation, pod *corev1.Pod) (time.Time, bool) {
	at, ok := deliver.ConfirmedAt(pod)
	if at.Before(o.since) && !foundSilent(o, at) {
		at = o.since
	}
	return at, ok
}

// foundSilent reports whether the policy's status says that reports are too old, since a time when the one of at was.
func foundSilent(o *observation, at time.Time) bool {
	c := meta.FindStatusCondition(o.policy.Status.Conditions, v1alpha1.ConditionEnforced)
	return c != nil && c.Reason == v1alpha1.ReasonReportTooOld && c.LastTransitionTime.Sub(at) > deliver.MaxReportAge-time.Second // it is in whole seconds
}

// silent reports whether the pod's sidecar has stopped reporting.
func silent(o *observation, pod *corev1.Pod, now time.Time) bool {
	at, ok := confirmed(o, pod)
	return ok && now.Sub(at) >= deliver.MaxReportAge
}

// nextSilence returns the delay until the next report becomes too old, unless it is confirmed before; 0 if there is none.
func nextSilence(o *observation, now time.Time) time.Duration {
	var next time.Duration
	for i := range o.pods {
		pod := &o.pods[i]
		if bound, _ := deliver.BoundPolicy(pod); bound != o.name.Name || status.Inactive(pod) {
			continue
		}
		if at, ok := confirmed(o, pod); ok {
			next = sooner(next, max(0, at.Add(deliver.MaxReportAge).Sub(now)))
		}
	}
	return next
}

// reportChanged reports whether the pod's report changed, or was too old and was confirmed. A confirmation alone is no change: there is
// one every few minutes from each pod.
func reportChanged(before, after *corev1.Pod) bool {
	old, oldFound := deliver.ConfirmedAt(before)
	now, found := deliver.ConfirmedAt(after)
	if oldFound != found || now.Sub(old) >= deliver.MaxReportAge {
		return true
	}
	return deliver.ReportText(before) != deliver.ReportText(after)
}
