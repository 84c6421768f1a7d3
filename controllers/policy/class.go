package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/status"
)

// ClassReconciler writes the status of SidecarClasses: whether each one applies as written. The CRD cannot check that only one
// class is marked default.
type ClassReconciler struct {
	Client client.Client
}

// SetupWithManager registers the reconciler. A change of one class reconciles all classes.
func (r *ClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	return ctrl.NewControllerManagedBy(mgr).
		Named("class").
		For(&v1alpha1.SidecarClass{}, changed).
		Watches(&v1alpha1.SidecarClass{}, handler.EnqueueRequestsFromMapFunc(r.everyClass), changed).
		Complete(r)
}

func (r *ClassReconciler) everyClass(ctx context.Context, _ client.Object) []reconcile.Request {
	classes := &v1alpha1.SidecarClassList{}
	if err := r.Client.List(ctx, classes); err != nil {
		return nil // a synced cache does not fail, and each class also has its own event
	}
	var out []reconcile.Request
	for i := range classes.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&classes.Items[i])})
	}
	return out
}

// Reconcile writes the class's status if it changed.
func (r *ClassReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	classes := &v1alpha1.SidecarClassList{}
	if err := r.Client.List(ctx, classes); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing sidecar classes: %w", err)
	}
	slices.SortFunc(classes.Items, func(a, b v1alpha1.SidecarClass) int { return strings.Compare(a.Name, b.Name) })
	for i := range classes.Items {
		if classes.Items[i].Name != request.Name {
			continue
		}
		class := classes.Items[i].DeepCopy()
		before := class.DeepCopy()
		class.Status.ObservedGeneration = class.Generation
		for _, c := range status.OfClass(judgeClass(class, classes.Items)) {
			meta.SetStatusCondition(&class.Status.Conditions, c)
		}
		if equality.Semantic.DeepEqual(before.Status, class.Status) {
			return ctrl.Result{}, nil
		}
		if err := r.Client.Status().Patch(ctx, class, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("patching status of sidecar class %q: %w", class.Name, err)
		}
	}
	return ctrl.Result{}, nil
}

// judgeClass returns the condition Accepted. It is False for a class with which no policy can be compiled, which the validating webhook
// lets pass if it is off or the operator was down, and for a class that is marked default if another one applies.
func judgeClass(class *v1alpha1.SidecarClass, classes []v1alpha1.SidecarClass) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted,
		Message: "the class is valid", ObservedGeneration: class.Generation,
	}
	if findings := compile.Class(class); compile.HasErrors(findings) {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalid, status.Errors(findings)
		return c
	}
	if class.Annotations[v1alpha1.DefaultClassAnnotation] != "true" {
		return c
	}
	applies, err := compile.ResolveClass(&v1alpha1.SecurityPolicy{}, classes)
	if err != nil || applies.Name == class.Name {
		return c
	}
	c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonConflicted
	c.Message = fmt.Sprintf("the newer SidecarClass %q is also marked default and applies to policies that name no class: "+
		"remove the annotation %s from one of them", applies.Name, v1alpha1.DefaultClassAnnotation)
	return c
}
