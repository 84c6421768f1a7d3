package policy

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// tombstoneLife is the minimum time that a tombstone is kept: a pod that was admitted just before the policy was deleted mounts
// it.
const tombstoneLife = time.Minute

// retire replaces the document of a deleted policy with a tombstone, which makes sidecars pass traffic through. It deletes the
// ConfigMap when no pod is bound to the policy any more.
func (r *Reconciler) retire(ctx context.Context, o *observation) (ctrl.Result, error) {
	r.rollouts.forget(o.name)
	r.settling.forget(o.name)
	if o.configMap == nil || !r.owned(o.configMap, o.name) {
		r.revisions.forget(o.name)
		return ctrl.Result{}, nil
	}
	if o.stored == nil || !o.stored.policy.Deleted {
		if other := successor(o); other != nil {
			contextlog.From(ctx).Debug("the document of a deleted policy stays active, because another policy selects its pods", "other", other.Name)
			return r.keepActive(ctx, o)
		}
		_, err := r.write(ctx, o, tombstone(o), withHeld(o, func(p *compiled.Policy) { p.Deleted = true }))
		return retryQuietly(ctrl.Result{RequeueAfter: tombstoneLife}, err)
	}
	if age := r.cfg.Clock.Now().Sub(time.UnixMilli(o.stored.policy.Revision)); age < tombstoneLife {
		return ctrl.Result{RequeueAfter: tombstoneLife - max(age, 0)}, nil
	}
	if boundPods(o) > 0 {
		return ctrl.Result{}, nil // the end of the last of them triggers a reconcile
	}
	err := r.cfg.Client.Delete(ctx, o.configMap, client.Preconditions{
		UID: ptr.To(o.configMap.UID), ResourceVersion: ptr.To(o.configMap.ResourceVersion),
	})
	if client.IgnoreNotFound(err) != nil {
		return retryQuietly(ctrl.Result{}, fmt.Errorf("deleting ConfigMap %q: %w", o.configMap.Name, err))
	}
	r.revisions.forget(o.name)
	contextlog.From(ctx).Info("deleted the document of a deleted policy")
	return ctrl.Result{}, nil
}

// keepActive keeps the last document active, with the current revocations.
func (r *Reconciler) keepActive(ctx context.Context, o *observation) (ctrl.Result, error) {
	again := ctrl.Result{RequeueAfter: tombstoneLife}
	if o.stored == nil {
		return again, nil
	}
	now := r.cfg.Clock.Now()
	renewed, _ := compile.Renew(o.stored.policy, o.revocations, now)
	held := hold(o, renewed, now)
	if r.fits(o, renewed, held) {
		return again, nil
	}
	_, err := r.write(ctx, o, renewed, held)
	return retryQuietly(again, err)
}

// tombstone returns a document that says that the policy was deleted: the last document, or one that demands nothing if the
// last one cannot be read.
func tombstone(o *observation) *compiled.Policy {
	if o.stored != nil {
		last := *o.stored.policy
		last.Deleted = true
		return &last
	}
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: o.name.Namespace, Name: o.name.Name, Deleted: true,
		Mode: compiled.Enforce, UndeclaredPorts: compiled.Allow,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "All", LogLevel: "info"},
	}
}

// successor returns another policy that selects a pod whose sidecar runs the documents of the deleted policy; nil if there is none.
func successor(o *observation) *v1alpha1.SecurityPolicy {
	selection := compile.NewSelection(o.policies)
	for i := range o.pods {
		pod := &o.pods[i]
		if bound, _ := deliver.BoundPolicy(pod); bound != o.name.Name || status.Inactive(pod) {
			continue
		}
		if other := selection.Select(pod.Labels); other != nil {
			return other
		}
	}
	return nil
}

// boundPods counts the pods that have not finished and whose sidecars run the policy's documents.
func boundPods(o *observation) int {
	n := 0
	for i := range o.pods {
		if bound, _ := deliver.BoundPolicy(&o.pods[i]); bound == o.name.Name && !status.Finished(&o.pods[i]) {
			n++
		}
	}
	return n
}
