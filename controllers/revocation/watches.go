package revocation

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/go-logr/logr"
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
	"github.com/posterndev/postern/controllers/status"
)

// gatherDelay combines many changes of a namespace into one reconcile.
const gatherDelay = 100 * time.Millisecond

// SetupWithManager registers the reconciler and its watches. Classes are not watched: their changes show in documents. The
// reconciler's own statuses are, so that one computed from an outdated cache is corrected.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("revocation").
		Watches(&v1alpha1.TokenRevocation{}, ofNamespace()).
		Watches(&v1alpha1.SecurityPolicy{}, ofNamespace(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, ofNamespace()).
		Watches(&corev1.Pod{}, ofNamespace(), builder.WithPredicates(predicate.Funcs{UpdateFunc: podChanged})).
		WithLogConstructor(func(request *reconcile.Request) logr.Logger {
			return logger(mgr.GetLogger(), request)
		}).
		Complete(r)
}

// logger returns the logger of a reconcile; the controller's logger if request is nil. A request's name is a namespace.
func logger(base logr.Logger, request *reconcile.Request) logr.Logger {
	base = base.WithValues("controller", "revocation")
	if request != nil {
		base = base.WithValues("namespace", request.Name)
	}
	return base
}

// ofNamespace enqueues the namespace of the event's object.
func ofNamespace() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(q queue, object client.Object) {
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: object.GetNamespace()}}, gatherDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { enqueue(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { enqueue(q, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { enqueue(q, e.Object) },
	}
}

// podChanged reports whether anything that a revocation's status depends on changed in a pod. Of its conditions, the cache
// holds only the sidecar's report.
func podChanged(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Pod)
	after, ok2 := e.ObjectNew.(*corev1.Pod)
	return ok && ok2 && (status.Inactive(before) != status.Inactive(after) || !maps.Equal(before.Labels, after.Labels) ||
		!reflect.DeepEqual(before.Status.Conditions, after.Status.Conditions))
}
