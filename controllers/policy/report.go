package policy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/rollout"
	"github.com/posterndev/postern/controllers/status"
	"github.com/posterndev/postern/controllers/transition"
)

// written is the result of writing the document and of the rollout.
type written struct {
	// document is the active one; nil if there is none.
	document *document
	err      error
	outcome  rollout.Outcome
}

// report computes the status once, patches it if it changed, and records events for transitions.
func (r *Reconciler) report(ctx context.Context, o *observation, v *verdict, w written) error {
	in := status.Input{
		Policy: o.policy, Class: v.Class, ClassError: v.ClassErr, Findings: v.Findings, Conflict: v.conflict, Compiled: v.Document,
		NamespaceEnabled: o.enabled, NamespaceExcluded: o.excluded, NamespaceLabel: o.labels[v1alpha1.InjectionLabel], WebhookProblem: o.webhook,
		WriteError: w.err, Pods: v.pods, Refused: v.refused, Rollout: w.outcome.Notes,
		Now: r.cfg.Clock.Now(), Schema: r.cfg.Schema,
	}
	if r.cfg.Rights != nil {
		in.MissingRights = r.cfg.Rights.Missing()
	}
	if d := w.document; d != nil {
		in.Document, in.Revision, in.Generation = d.hash, d.policy.Revision, d.policy.Generation
	}
	next := status.Of(in)
	if equality.Semantic.DeepEqual(o.policy.Status, next) {
		return nil
	}
	before := o.policy.DeepCopy()
	o.policy.Status = next
	// The patch must be relative to the API server's object: relative to an outdated cache it would keep half of a status.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.cfg.Client.Status().Patch(ctx, o.policy, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patching status of policy %q: %w", o.name, err)
	}
	transition.Record(r.cfg.Events, o.policy, before.Status.Conditions, next.Conditions)
	return nil
}
