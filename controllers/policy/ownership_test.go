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

// world is a namespace with a policy, as it is before the first reconcile.
func world() []client.Object {
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name.Namespace, Labels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}}},
		&v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}},
		&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}},
	}
}

func newTestReconciler(c client.Client, clock *clocktesting.FakePassiveClock, excluded ...string) *Reconciler {
	return NewReconciler(Config{
		Client: c, Live: c, Key: key, Clock: clock, Events: events.NewFakeRecorder(16),
		Settings: func() render.Settings { return render.Settings{} }, Excluded: excluded,
	})
}

// TestForeignConfigMap: a ConfigMap that has a document's name, and is a person's, is neither written over nor removed.
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
		"a person's":                            {foreign(nil), true},
		"a person's with our label":             {foreign(map[string]string{render.PolicyLabel: "orders"}), true},
		"ours of another policy":                {foreign(map[string]string{render.PolicyLabel: "x", "app.kubernetes.io/managed-by": "postern"}), true},
		"ours, and somebody took its labels":    {unlabelled, false},
		"ours, and somebody spoilt what it had": {edited, false},
	}
	for title, tt := range tests {
		for kind, objects := range map[string][]client.Object{"there is a policy": world(), "there is none": nil} {
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
	if programmed == nil || programmed.Status != metav1.ConditionFalse || !strings.Contains(programmed.Message, "not Postern's") {
		t.Errorf("Programmed is %+v", programmed)
	}
	if result.RequeueAfter != takenRetry {
		t.Errorf("looked at again after %s", result.RequeueAfter)
	}
}

// TestWritesThatWait: what is no fault leaves the status as it was, and is no error.
func TestWritesThatWait(t *testing.T) {
	terminating := apierrors.NewForbidden(corev1.Resource("configmaps"), "postern-orders", nil)
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	tests := map[string]struct {
		err         error
		wantRequeue bool
	}{
		"the cache lags":         {apierrors.NewConflict(corev1.Resource("configmaps"), "postern-orders", errCacheLags), true},
		"the namespace is going": {terminating, false},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(world()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).
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

// TestExcludedNamespace: its label promises what the webhook does not keep.
func TestExcludedNamespace(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(world()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
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

// TestHeir: no tombstone opens a pod that another policy picks.
func TestHeir(t *testing.T) {
	other := &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: "orders-v2"},
		Spec:       v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "orders"}}},
	}
	tests := map[string]struct {
		phase      corev1.PodPhase
		label      string
		wantOpened bool
	}{
		"it picks the pod":                     {corev1.PodRunning, "orders", false},
		"it picks others":                      {corev1.PodRunning, "carts", true},
		"it picks the pod, which has finished": {corev1.PodSucceeded, "orders", true},
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
