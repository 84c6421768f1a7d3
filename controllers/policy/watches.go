package policy

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

// podDelay gathers the changes of many pods into one reconcile, and revocationDelay those of TokenRevocations into one
// document, which every sidecar then fetches.
const (
	podDelay        = 100 * time.Millisecond
	revocationDelay = 50 * time.Millisecond
)

// SetupWithManager registers the reconciler and what it watches. The ConfigMaps that exist at start bring back the policies
// that went while no operator ran.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("policy").
		// Our own status comes back, too: one that was computed from a cache that lagged behind it is then put right.
		For(&v1alpha1.SecurityPolicy{}).
		Watches(&v1alpha1.SecurityPolicy{}, handler.EnqueueRequestsFromMapFunc(r.siblings),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.SidecarClass{}, handler.EnqueueRequestsFromMapFunc(r.everyPolicy), builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(ofConfigMap)).
		Watches(&v1alpha1.TokenRevocation{}, gathering(revocationDelay, r.ofRevocation),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, gathering(podDelay, r.ofPod), builder.WithPredicates(predicate.Funcs{UpdateFunc: podChanged})).
		Complete(r)
}

// siblings returns the policies of the namespace: another's selector decides about conflicts.
func (r *Reconciler) siblings(ctx context.Context, object client.Object) []reconcile.Request {
	return r.requests(ctx, nil, client.InNamespace(object.GetNamespace()))
}

// ofRevocation returns the policies of the namespace, and those that are gone and whose documents are there still.
func (r *Reconciler) ofRevocation(ctx context.Context, object client.Object) []reconcile.Request {
	requests := r.siblings(ctx, object)
	documents := &corev1.ConfigMapList{}
	// They are large, and nothing of them is kept.
	if err := r.cfg.Client.List(ctx, documents, client.InNamespace(object.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		contextlog.From(ctx).Error("documents cannot be listed: those of policies that are gone wait for the next look", "error", err)
	}
	for i := range documents.Items {
		for _, request := range ofConfigMap(ctx, &documents.Items[i]) {
			if !slices.Contains(requests, request) {
				requests = append(requests, request)
			}
		}
	}
	return requests
}

func (r *Reconciler) ofNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.requests(ctx, nil, client.InNamespace(object.GetName()))
}

func (r *Reconciler) everyPolicy(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.requests(ctx, nil)
}

// ofConfigMap returns the policy whose document the ConfigMap holds.
func ofConfigMap(_ context.Context, object client.Object) []reconcile.Request {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return nil
	}
	policy, ok := strings.CutPrefix(cm.Name, "postern-")
	if !ok || render.ConfigMapName(policy) != cm.Name {
		// The name is too long to hold the policy's; the document says it, and is not believed beyond that.
		if policy, ok = render.PolicyIn(cm); !ok || render.ConfigMapName(policy) != cm.Name {
			return nil
		}
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: cm.Namespace, Name: policy}}}
}

// gathering enqueues what of returns for the objects of an event, after a delay that makes one reconcile of many events. An
// object whose labels changed concerns what they picked before, too.
func gathering(delay time.Duration, of handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, object := range objects {
			for _, request := range of(ctx, object) {
				q.AddAfter(request, delay)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { enqueue(ctx, q, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) {
				enqueue(ctx, q, e.ObjectNew)
				return
			}
			enqueue(ctx, q, e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { enqueue(ctx, q, e.Object) },
	}
}

// ofPod returns the policies that match the pod, and the one that it is bound to, which may be gone.
func (r *Reconciler) ofPod(ctx context.Context, object client.Object) []reconcile.Request {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	requests := r.requests(ctx, func(p *v1alpha1.SecurityPolicy) bool {
		match, err := compile.Matches(p, pod.Labels)
		return match && err == nil
	}, client.InNamespace(pod.Namespace))
	if bound, ok := deliver.BoundPolicy(pod); ok {
		request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: bound}}
		if !slices.Contains(requests, request) {
			requests = append(requests, request)
		}
	}
	return requests
}

// requests lists policies; a nil keep keeps all.
func (r *Reconciler) requests(ctx context.Context, keep func(*v1alpha1.SecurityPolicy) bool, options ...client.ListOption) []reconcile.Request {
	policies := &v1alpha1.SecurityPolicyList{}
	if err := r.cfg.Client.List(ctx, policies, options...); err != nil {
		contextlog.From(ctx).Error("policies cannot be listed: their change waits for the next", "error", err)
		return nil
	}
	var out []reconcile.Request
	for i := range policies.Items {
		if p := &policies.Items[i]; keep == nil || keep(p) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		}
	}
	return out
}

// podChanged reports whether anything changed that a policy's status depends on. The cache holds little else of a pod, but
// every heartbeat of its own status changes its resourceVersion.
func podChanged(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Pod)
	after, ok2 := e.ObjectNew.(*corev1.Pod)
	if !ok || !ok2 {
		return false
	}
	return status.Gone(before) != status.Gone(after) || status.Finished(before) != status.Finished(after) ||
		!maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) ||
		!reflect.DeepEqual(before.Status.Conditions, after.Status.Conditions) || failing(before) != failing(after)
}
