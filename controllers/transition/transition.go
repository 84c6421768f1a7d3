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

// Record records an event for each condition whose status or reason changed. A condition that was not there before is recorded only
// if it is a fault: a new object would otherwise begin with an event for each of its conditions.
func Record(recorder events.EventRecorder, object runtime.Object, before, after []metav1.Condition) {
	for _, c := range after {
		if c.Type == v1alpha1.ConditionReady || c.Type == v1alpha1.ConditionStalled {
			continue // they repeat other conditions
		}
		old := meta.FindStatusCondition(before, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		kind := kindOf(c, old)
		if old == nil && kind != corev1.EventTypeWarning {
			continue
		}
		recorder.Eventf(object, nil, kind, c.Reason, c.Type, "%s", truncate(c.Message, maxNote))
	}
}

// faults are conditions that are False only if something is wrong, never while things are starting.
var faults = []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionVaultReady, v1alpha1.ConditionSigningKeyReady, v1alpha1.ConditionKeysReady,
	v1alpha1.ConditionCertificateReady, v1alpha1.ConditionPodsAdmitted}

// kindOf returns Warning for a condition that is no longer True, for one of faults that is False, and for a namespace without the
// label, which has to be added. A revocation whose tokens have expired has done its work; a certificate that has expired is a fault.
func kindOf(c metav1.Condition, old *metav1.Condition) string {
	lost := old != nil && old.Status == metav1.ConditionTrue
	fault := slices.Contains(faults, c.Type) || c.Reason == v1alpha1.ReasonInjectionDisabled
	done := c.Reason == v1alpha1.ReasonExpired && c.Type != v1alpha1.ConditionCertificateReady
	if c.Status == metav1.ConditionFalse && !done && (lost || fault) {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// Recorder records events, except in namespaces that are being deleted: the API server refuses to create anything there.
type Recorder struct {
	Events events.EventRecorder
	// Ending reports whether the namespace is being deleted.
	Ending func(namespace string) bool
}

// Eventf implements EventRecorder.
func (r *Recorder) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	if o, err := meta.Accessor(regarding); err == nil && o.GetNamespace() != "" && r.Ending(o.GetNamespace()) {
		return
	}
	r.Events.Eventf(regarding, related, kind, reason, action, note, args...)
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
