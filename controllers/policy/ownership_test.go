package policy

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// unreconciled returns a namespace with a policy before its first reconcile.
func unreconciled() []client.Object {
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name.Namespace, Labels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}}},
		&v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}},
		&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}},
	}
}

func newTestReconciler(c client.Client, clock *clocktesting.FakePassiveClock, excluded ...string) *Reconciler {
	return NewReconciler(Config{
		Client: c, Live: c, Key: key, Clock: clock, Events: events.NewFakeRecorder(16),
		Settings: func() render.Settings { return render.Settings{Image: "sidecar:1", DocumentKey: publicKey(key)} }, Excluded: excluded,
	})
}

// TestForeignConfigMap checks that a user's ConfigMap with the name of a document is neither overwritten nor deleted.
func TestForeignConfigMap(t *testing.T) {
	foreign := func(labels map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: render.ConfigMapName(name.Name), Labels: labels},
			Data:       map[string]string{"mine": "1"},
		}
	}
	unlabelled := stored(t, time.Unix(1e8, 0))
	unlabelled.Labels = nil
	edited := stored(t, time.Unix(1e8, 0))
	edited.Data = map[string]string{"x": "y"}
	tests := map[string]struct {
		configMap *corev1.ConfigMap
		wantKept  bool
	}{
		"a user's":                           {foreign(nil), true},
		"a user's with the operator's label": {foreign(map[string]string{render.PolicyLabel: "orders"}), true},
		"the operator's, of another policy":  {foreign(map[string]string{render.PolicyLabel: "x", "app.kubernetes.io/managed-by": "postern"}), true},
		"the operator's, without labels":     {unlabelled, false},
		"the operator's, with edited data":   {edited, false},
	}
	for title, tt := range tests {
		for kind, objects := range map[string][]client.Object{"with policy": unreconciled(), "without policy": nil} {
			t.Run(title+", "+kind, func(t *testing.T) {
				c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(objects, tt.configMap)...).
					WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
				result, err := newTestReconciler(c, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))).
					Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
				if err != nil {
					t.Fatal(err)
				}
				now := &corev1.ConfigMap{}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(tt.configMap), now); err != nil {
					t.Fatal(err)
				}
				if kept := maps.Equal(now.Data, tt.configMap.Data); kept != tt.wantKept {
					t.Errorf("kept %t: %v", kept, now.Data)
				}
				if objects != nil && tt.wantKept {
					wantTaken(t, c, result)
				}
			})
		}
	}
}

func wantTaken(t *testing.T, c client.Client, result ctrl.Result) {
	t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	if err := c.Get(t.Context(), name, p); err != nil {
		t.Fatal(err)
	}
	programmed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionProgrammed)
	if programmed == nil || programmed.Status != metav1.ConditionFalse || !strings.Contains(programmed.Message, "does not belong to Postern") {
		t.Errorf("Programmed is %+v", programmed)
	}
	if result.RequeueAfter != takenRetry {
		t.Errorf("retried after %s", result.RequeueAfter)
	}
}

// TestWritesThatWait checks that a write that must wait does not change the status and returns no error.
func TestWritesThatWait(t *testing.T) {
	terminating := apierrors.NewForbidden(corev1.Resource("configmaps"), "postern-orders", nil)
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	tests := map[string]struct {
		err         error
		wantRequeue bool
	}{
		"the cache lags":                 {apierrors.NewConflict(corev1.Resource("configmaps"), "postern-orders", errCacheLags), true},
		"the namespace is being deleted": {terminating, false},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(unreconciled()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).
				WithInterceptorFuncs(interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
					return tt.err
				}}).Build()
			result, err := newTestReconciler(c, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))).Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
			if err != nil || (result.RequeueAfter > 0) != tt.wantRequeue {
				t.Errorf("got %+v, %v", result, err)
			}
			p := &v1alpha1.SecurityPolicy{}
			if err := c.Get(t.Context(), name, p); err != nil || len(p.Status.Conditions) > 0 {
				t.Errorf("the status is %+v, %v", p.Status, err)
			}
		})
	}
}

// TestExcludedNamespace checks that the status reports an excluded namespace although its label enables injection.
func TestExcludedNamespace(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(unreconciled()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
	r := newTestReconciler(c, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)), name.Namespace)
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.SecurityPolicy{}
	if err := c.Get(t.Context(), name, p); err != nil {
		t.Fatal(err)
	}
	got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionProgrammed)
	if got == nil || got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonInjectionDisabled || !strings.Contains(got.Message, "excludes it") {
		t.Errorf("Programmed is %+v", got)
	}
}

// TestSuccessor checks that no tombstone is written while another policy selects a pod of the deleted one.
func TestSuccessor(t *testing.T) {
	other := &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: "orders-v2"},
		Spec:       v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "orders"}}},
	}
	tests := map[string]struct {
		phase      corev1.PodPhase
		label      string
		wantOpened bool
	}{
		"selects the pod":                     {corev1.PodRunning, "orders", false},
		"selects other pods":                  {corev1.PodRunning, "carts", true},
		"selects the pod, which has finished": {corev1.PodSucceeded, "orders", true},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			pod := bound(tt.phase)
			pod.Labels = map[string]string{"app": tt.label}
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(stored(t, time.Unix(1e8, 0)), other, pod).Build()
			r := newTestReconciler(c, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)))
			result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
			if err != nil || result.RequeueAfter == 0 {
				t.Fatalf("got %+v, %v", result, err)
			}
			cm := &corev1.ConfigMap{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(stored(t, time.Unix(1e8, 0))), cm); err != nil {
				t.Fatal(err)
			}
			if d := r.verify(cm, name); len(d) == 0 || d[0].policy.Deleted != tt.wantOpened {
				t.Errorf("the document is %v", cm.Data[compiled.DocumentKey])
			}
		})
	}
}

// TestNamespaceEnds checks that nothing is written in a namespace that is being deleted, once the document was deleted in it.
func TestNamespaceEnds(t *testing.T) {
	for title, policy := range map[string][]client.Object{"with policy": unreconciled()[1:], "without policy": nil} {
		t.Run(title, func(t *testing.T) {
			ending := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: name.Namespace, DeletionTimestamp: &metav1.Time{Time: time.Unix(1e9, 0)}, Finalizers: []string{"x/y"},
			}}
			refused := func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
				t.Error("something was created")
				return nil
			}
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(policy, ending)...).
				WithStatusSubresource(&v1alpha1.SecurityPolicy{}).WithInterceptorFuncs(interceptor.Funcs{Create: refused}).Build()
			result, err := newTestReconciler(c, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))).Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
			if err != nil || result.RequeueAfter != 0 {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}
