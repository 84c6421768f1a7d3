package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// appPolicy returns a policy that selects app=NAME, and podOf a pod with these labels, app=NAME if there are none.
func appPolicy(app string) *v1alpha1.SecurityPolicy {
	return &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: app, Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0))},
		Spec:       v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	}
}

func podOf(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}}
}

// TestNeighbours checks that a change of one of 400 policies enqueues those that share a pod with it, and no others.
func TestNeighbours(t *testing.T) {
	var objects []client.Object
	for i := range 400 {
		app := fmt.Sprintf("app-%d", i)
		objects = append(objects, appPolicy(app), podOf(app, map[string]string{"app": app}))
	}
	tier := appPolicy("tier")
	tier.Spec.Selector.MatchLabels = map[string]string{"tier": "web"}
	moved := bound(corev1.PodRunning) // its sidecar is of the deleted policy "orders"
	moved.Labels = map[string]string{"app": "app-2"}
	objects = append(objects, tier, podOf("both", map[string]string{"app": "app-1", "tier": "web"}), moved)
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build()
	r := NewReconciler(Config{Client: c, Clock: clocktesting.NewFakePassiveClock(created)})

	edited := appPolicy("app-1")
	edited.Generation, edited.Spec.Mode = 2, v1alpha1.ModeShadow
	reselected := appPolicy("app-1")
	reselected.Generation, reselected.Spec.Selector.MatchLabels = 2, map[string]string{"app": "app-7"}
	going := appPolicy("app-1")
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: time.Unix(2e9, 0)}, []string{"x/y"}
	for name, tc := range map[string]struct {
		event any
		want  []string
	}{
		"at the start":                  {event.CreateEvent{Object: appPolicy("app-1"), IsInInitialList: true}, nil},
		"created beside nobody":         {event.CreateEvent{Object: appPolicy("app-3")}, nil},
		"created beside another":        {event.CreateEvent{Object: appPolicy("app-1")}, []string{"tier"}},
		"created over a deleted one":    {event.CreateEvent{Object: appPolicy("app-2")}, []string{"orders"}},
		"changed, but not its selector": {event.UpdateEvent{ObjectOld: appPolicy("app-1"), ObjectNew: edited}, nil},
		"changed in its selector":       {event.UpdateEvent{ObjectOld: appPolicy("app-1"), ObjectNew: reselected}, []string{"app-7", "tier"}},
		"being deleted":                 {event.UpdateEvent{ObjectOld: appPolicy("app-1"), ObjectNew: going}, []string{"tier"}},
		"deleted":                       {event.DeleteEvent{Object: appPolicy("app-1")}, []string{"tier"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			switch e := tc.event.(type) {
			case event.CreateEvent:
				r.neighbours().Create(t.Context(), e, q)
			case event.UpdateEvent:
				r.neighbours().Update(t.Context(), e, q)
			case event.DeleteEvent:
				r.neighbours().Delete(t.Context(), e, q)
			}
			var got []string
			for q.Len() > 0 {
				request, _ := q.Get()
				got = append(got, request.Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("enqueued (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExcessPolicies checks that a policy beyond the limit is enqueued when it may be accepted.
func TestExcessPolicies(t *testing.T) {
	var objects []client.Object
	for i := range compile.MaxPolicies {
		objects = append(objects, appPolicy(fmt.Sprintf("app-%03d", i)))
	}
	r := NewReconciler(Config{
		Client: fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build(), Clock: clocktesting.NewFakePassiveClock(created),
	})
	got := r.sharing(t.Context(), []client.Object{appPolicy("gone")})
	if len(got) != 1 || got[0].Name != fmt.Sprintf("app-%03d", compile.MaxPolicies-1) {
		t.Errorf("enqueued %v", got)
	}
}
