// Package transition records Kubernetes events for conditions that changed.
package transition

import (
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/posterndev/postern/api/v1alpha1"
)

// maxNote is the API's limit of an event's note, in bytes.
const maxNote = 1024

// Record records an event for each condition whose status or reason changed. An expiry is not a warning.
func Record(recorder events.EventRecorder, object runtime.Object, before, after []metav1.Condition) {
	for _, c := range after {
		old := meta.FindStatusCondition(before, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		recorder.Eventf(object, nil, kindOf(c, old), c.Reason, c.Type, "%s", truncate(c.Message, maxNote))
	}
}

// faults are conditions that are False only if something is wrong, never while things are starting.
var faults = []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionVaultReady, v1alpha1.ConditionSigningKeyReady}

// kindOf returns Warning for a condition that is no longer True, and for one of faults that is False.
func kindOf(c metav1.Condition, old *metav1.Condition) string {
	lost := old != nil && old.Status == metav1.ConditionTrue
	if c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonExpired && (lost || slices.Contains(faults, c.Type)) {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
