package policy

import (
	"context"
	"fmt"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/rollout"
	"github.com/posterndev/postern/controllers/status"
)

// written is what came of the writing.
type written struct {
	hash    string
	err     error
	outcome rollout.Outcome
}

// report computes the status once, patches it where it changed, and tells of transitions.
func (r *Reconciler) report(ctx context.Context, o *observation, v *verdict, w written) error {
	next := status.Of(status.Input{
		Policy: o.policy, Class: v.class, ClassError: v.classErr, Findings: v.findings, Conflict: v.conflict,
		NamespaceEnabled: o.enabled, NamespaceExcluded: o.excluded, Document: w.hash, WriteError: w.err, Pods: v.pods, Rollout: w.outcome.Notes,
		Now: r.cfg.Clock.Now(),
	})
	if equality.Semantic.DeepEqual(o.policy.Status, next) {
		return nil
	}
	before := o.policy.DeepCopy()
	o.policy.Status = next
	// What the patch leaves out must be what the API server has: against a cache that lags, half of a status would be kept.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.cfg.Client.Status().Patch(ctx, o.policy, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patching status of policy %q: %w", o.name, err)
	}
	tell(r.cfg.Events, o.policy, before.Status.Conditions, next.Conditions)
	return nil
}

// maxNote is the API's limit of an event's note, in bytes.
const maxNote = 1024

// tell records an event for each condition whose status or reason changed.
func tell(recorder events.EventRecorder, object runtime.Object, before, after []metav1.Condition) {
	for _, c := range after {
		old := meta.FindStatusCondition(before, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		kind := corev1.EventTypeNormal
		if lost := old != nil && old.Status == metav1.ConditionTrue; c.Status == metav1.ConditionFalse && (lost || c.Type == v1alpha1.ConditionAccepted) {
			kind = corev1.EventTypeWarning
		}
		recorder.Eventf(object, nil, kind, c.Reason, c.Type, "%s", truncate(c.Message, maxNote))
	}
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
