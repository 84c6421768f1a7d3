package policy

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// confirmed returns when the pod's sidecar last confirmed its report; false if it has not reported. since is when this process
// started: while no operator ran, no sidecar could report, so that time does not count.
func confirmed(pod *corev1.Pod, since time.Time) (time.Time, bool) {
	at, ok := deliver.ConfirmedAt(pod)
	if at.Before(since) {
		at = since
	}
	return at, ok
}

// silent reports whether the pod's sidecar has stopped reporting.
func silent(pod *corev1.Pod, since, now time.Time) bool {
	at, ok := confirmed(pod, since)
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
		if at, ok := confirmed(pod, o.since); ok {
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
