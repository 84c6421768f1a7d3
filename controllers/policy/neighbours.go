package policy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/deliver"
)

// neighbours enqueues the other policies that a change of one policy concerns: those that select a pod which the changed policy
// selects, or selected before, and the one that a selected pod is bound to. They may be in conflict now, or no longer. A change that
// leaves the selector as it was concerns no other policy.
func (r *Reconciler) neighbours() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, name := range r.sharing(ctx, objects) {
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList { // each policy has an event of its own
				enqueue(ctx, q, e.Object)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if concernsOthers(e.ObjectOld, e.ObjectNew) {
				enqueue(ctx, q, e.ObjectOld, e.ObjectNew)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { enqueue(ctx, q, e.Object) },
	}
}

// concernsOthers reports whether an update changes which pods the policy applies to.
func concernsOthers(before, after client.Object) bool {
	a, ok := before.(*v1alpha1.SecurityPolicy)
	b, ok2 := after.(*v1alpha1.SecurityPolicy)
	return ok && ok2 && (a.UID != b.UID || (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) ||
		!equality.Semantic.DeepEqual(a.Spec.Selector, b.Spec.Selector))
}

// sharing returns the other policies that share a pod with one of the versions of a policy. It reads the cache, without copies.
func (r *Reconciler) sharing(ctx context.Context, versions []client.Object) []types.NamespacedName {
	namespace, name := versions[0].GetNamespace(), versions[0].GetName()
	here := []client.ListOption{client.InNamespace(namespace), client.UnsafeDisableDeepCopy}
	policies, pods := &v1alpha1.SecurityPolicyList{}, &corev1.PodList{}
	for _, list := range []client.ObjectList{policies, pods} {
		if err := r.cfg.Client.List(ctx, list, here...); err != nil {
			contextlog.From(ctx).Error("listing neighbours of a policy failed, they wait for the next event", "error", err)
			return nil
		}
	}
	selection, found := compile.NewSelection(policies.Items), map[string]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !selectedBy(versions, pod) {
			continue
		}
		for _, other := range selection.All(pod.Labels) {
			found[other.Name] = true
		}
		if bound, ok := deliver.BoundPolicy(pod); ok {
			found[bound] = true
		}
	}
	if next := selection.Nth(compile.MaxPolicies - 1); next != nil {
		found[next.Name] = true // it was one too many, and may not be any more
	}
	delete(found, name)
	var out []types.NamespacedName
	for other := range found { // the order of a queue does not matter
		out = append(out, types.NamespacedName{Namespace: namespace, Name: other})
	}
	return out
}

func selectedBy(versions []client.Object, pod *corev1.Pod) bool {
	for _, v := range versions {
		policy, ok := v.(*v1alpha1.SecurityPolicy)
		if !ok {
			continue
		}
		if selector, err := compile.ParseSelector(policy); err != nil || selector.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}
