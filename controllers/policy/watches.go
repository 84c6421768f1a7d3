package policy

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
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
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

// podDelay combines the changes of many pods into one reconcile, and podPace is the time between two reconciles of a policy whose pods
// go on changing. If those of many policies do, podApart is between the reconciles of all, which are then at most podLongest late.
// revocationDelay combines the changes of TokenRevocations into one document, because every sidecar fetches each document.
const (
	podDelay        = 100 * time.Millisecond
	podPace         = time.Second
	podApart        = 50 * time.Millisecond
	podLongest      = 10 * time.Second
	revocationDelay = 50 * time.Millisecond
)

// SetupWithManager registers the reconciler and its watches. The ConfigMaps that exist at the start trigger a reconcile of the
// policies that were deleted while no operator was running.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).Named("policy")
	if r.cfg.Rights != nil {
		b = b.WatchesRawSource(source.Channel(r.cfg.Rights.Changed(), handler.EnqueueRequestsFromMapFunc(r.everyPolicy)))
	}
	if r.cfg.Refused != nil {
		b = b.WatchesRawSource(source.Channel(r.cfg.Refused.Changed(), handler.EnqueueRequestsFromMapFunc(r.ofPod)))
	}
	b = b.
		// The reconciler's own status writes trigger it, too, so that a status computed from an outdated cache is corrected.
		For(&v1alpha1.SecurityPolicy{}).
		Watches(&v1alpha1.SecurityPolicy{}, r.neighbours()).
		Watches(&v1alpha1.SidecarClass{}, handler.EnqueueRequestsFromMapFunc(r.everyPolicy), builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(ofConfigMap)).
		Watches(&v1alpha1.TokenRevocation{}, gathering(newSpacing(revocationDelay, 0, r.cfg.Clock), r.ofRevocation),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, gathering(newSpacing(podDelay, podPace, r.cfg.Clock).spread(podApart, podLongest), r.ofPod), builder.WithPredicates(predicate.Funcs{UpdateFunc: podChanged}))
	if r.cfg.Webhook != "" {
		b = b.Watches(&admissionv1.MutatingWebhookConfiguration{}, handler.EnqueueRequestsFromMapFunc(r.everyPolicy),
			builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	}
	if r.cfg.Changed != nil {
		b = b.WatchesRawSource(source.Channel(r.cfg.Changed, handler.EnqueueRequestsFromMapFunc(r.everyPolicy)))
	}
	return b.Complete(r)
}

// ofRevocation returns the policies of the namespace, and the deleted policies whose documents still exist.
func (r *Reconciler) ofRevocation(ctx context.Context, object client.Object) []reconcile.Request {
	requests := r.requests(ctx, nil, client.InNamespace(object.GetNamespace()))
	documents := &corev1.ConfigMapList{}
	// They are large and are only read here, so they need no copy.
	if err := r.cfg.Client.List(ctx, documents, client.InNamespace(object.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		contextlog.From(ctx).Error("listing documents of deleted policies failed, they are updated with the next change", "error", err)
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
		// The policy's name is too long for the ConfigMap's name. The document names the policy; it is not verified here, but its
		// ConfigMap name must match.
		if policy, ok = render.PolicyIn(cm); !ok || render.ConfigMapName(policy) != cm.Name {
			return nil
		}
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: cm.Namespace, Name: policy}}}
}

// gathering enqueues the requests that of returns for the objects of an event, spaced so that many events cause few reconciles. If an
// object's labels changed, the policies that matched the old labels are enqueued as well.
func gathering(spaced *spacing, of handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(ctx context.Context, q queue, objects ...client.Object) {
		for _, object := range objects {
			for _, request := range of(ctx, object) {
				q.AddAfter(request, spaced.next(request))
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

// ofPod returns the policies that match the pod, and the policy that it is bound to, which may have been deleted.
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

// requests returns requests for the policies that keep accepts; a nil keep accepts all.
func (r *Reconciler) requests(ctx context.Context, keep func(*v1alpha1.SecurityPolicy) bool, options ...client.ListOption) []reconcile.Request {
	policies := &v1alpha1.SecurityPolicyList{}
	if err := r.cfg.Client.List(ctx, policies, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		contextlog.From(ctx).Error("listing policies failed, the change waits for the next event", "error", err)
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

// podChanged reports whether a field changed that a policy's status depends on. The cache holds few other fields of a pod, but
// every status write of the kubelet changes the resourceVersion.
func podChanged(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Pod)
	after, ok2 := e.ObjectNew.(*corev1.Pod)
	if !ok || !ok2 {
		return false
	}
	return status.Inactive(before) != status.Inactive(after) || status.Finished(before) != status.Finished(after) ||
		!maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) ||
		!reflect.DeepEqual(before.Spec.InitContainers, after.Spec.InitContainers) || reportChanged(before, after) || failing(before) != failing(after)
}
