package deliver

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
)

// ConditionSidecar is the pod condition that holds the sidecar's last report. Its message is the report in JSON.
const ConditionSidecar corev1.PodConditionType = "postern.dev/Sidecar"

// Reasons of ConditionSidecar.
const (
	// ReasonEnforcing: the sidecar runs a document.
	ReasonEnforcing = "Enforcing"
	// ReasonNoDocument: the sidecar has no document yet and responds with 503.
	ReasonNoDocument = "NoDocument"
	// ReasonRefused: the sidecar refused a newer document and keeps the previous one.
	ReasonRefused = "DocumentRefused"
	// ReasonReachable: clients can reach a listener of the pod around the sidecar.
	ReasonReachable = "ReachableAround"
	// ReasonUnredirected: the rules of Redirect are missing in the pod's network.
	ReasonUnredirected = "RedirectMissing"
)

// ReportFrom returns the last report of the pod's sidecar; false if there is none that can be read.
func ReportFrom(pod *corev1.Pod) (compiled.Report, bool) {
	c := sidecarCondition(pod)
	if c == nil {
		return compiled.Report{}, false
	}
	report, err := compiled.DecodeReport([]byte(c.Message))
	return report, err == nil
}

// How often an unchanged report is confirmed in the pod's status, and the age at which it proves nothing any more. A sidecar polls
// at least twice a minute. Two confirmations may be lost.
const (
	confirmEvery = 5 * time.Minute
	MaxReportAge = 16 * time.Minute
)

// ConfirmedAt returns when the sidecar last sent its report, within a few minutes; false if it has not reported.
func ConfirmedAt(pod *corev1.Pod) (time.Time, bool) {
	if c := sidecarCondition(pod); c != nil {
		return c.LastProbeTime.Time, true
	}
	return time.Time{}, false
}

// ReportText returns the last report as it was stored; empty if there is none.
func ReportText(pod *corev1.Pod) string {
	if c := sidecarCondition(pod); c != nil {
		return string(c.Status) + c.Message
	}
	return ""
}

// newCondition returns the condition that holds report, and when it was confirmed. The transition time is old's if the status is the
// same. An unchanged report that was confirmed recently gives the old condition, so that not every poll is written.
func newCondition(report compiled.Report, old *corev1.PodCondition, now time.Time) (corev1.PodCondition, error) {
	message, err := json.Marshal(report)
	if err != nil {
		return corev1.PodCondition{}, fmt.Errorf("encoding report: %w", err)
	}
	c := corev1.PodCondition{
		Type: ConditionSidecar, Status: corev1.ConditionFalse, Message: string(message),
		LastTransitionTime: metav1.NewTime(now), LastProbeTime: metav1.NewTime(now),
	}
	switch {
	case report.Unredirected:
		c.Reason = ReasonUnredirected
	case len(report.Reachable) > 0:
		c.Reason = ReasonReachable
	case report.Refused != "":
		c.Reason = ReasonRefused
	case report.Hash == "":
		c.Reason = ReasonNoDocument
	default:
		c.Status, c.Reason = corev1.ConditionTrue, ReasonEnforcing
	}
	if old != nil && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
		if age := now.Sub(old.LastProbeTime.Time); old.Message == c.Message && old.Reason == c.Reason && age >= 0 && age < confirmEvery {
			c.LastProbeTime = old.LastProbeTime
		}
	}
	return c, nil
}

func sidecarCondition(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == ConditionSidecar {
			return c
		}
	}
	return nil
}
