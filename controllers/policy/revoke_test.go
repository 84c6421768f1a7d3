package policy

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// created is when the revocations of these tests were created.
var created = time.Unix(1e9, 0)

func tokenRevocation(of string, tokenID string) *v1alpha1.TokenRevocation {
	return &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: of, CreationTimestamp: metav1.NewTime(created)},
		Spec:       v1alpha1.TokenRevocationSpec{TokenID: tokenID},
	}
}

// trusting gives the policy a provider whose tokens are valid for an hour.
func trusting(p *v1alpha1.SecurityPolicy, keys v1alpha1.JWKS) {
	p.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://corp", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		MaxLifetime: "1h", JWKS: keys,
	}}}
}

// revoked returns the names of the revocations in the stored document.
func revoked(t *testing.T, c client.Client, r *Reconciler) []string {
	t.Helper()
	cm := stored(t, created)
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(cm), cm); err != nil {
		t.Fatal(err)
	}
	d := first(r.open(cm, name))
	if d == nil {
		t.Fatal("the document is not the operator's")
	}
	var names []string
	for _, e := range d.policy.RevokedTokens {
		names = append(names, e.Name)
	}
	return names
}

// TestRevocationsInDocument checks that the document contains the revocations that exist and have not expired.
func TestRevocationsInDocument(t *testing.T) {
	world := unreconciled()
	trusting(world[2].(*v1alpha1.SecurityPolicy), v1alpha1.JWKS{URI: "https://corp/keys"})
	going := tokenRevocation("going", "j")
	going.Finalizers, going.DeletionTimestamp = []string{"example.com/x"}, &metav1.Time{Time: created}
	lasting := tokenRevocation("lasting", "")
	lasting.Spec = v1alpha1.TokenRevocationSpec{KeyID: "k"}
	first := tokenRevocation("first", "j")
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(world, first, lasting, going)...).
		WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
	clock := clocktesting.NewFakePassiveClock(created)
	r := newTestReconciler(c, clock)
	reconciled := func(wantAgain time.Duration, want ...string) {
		t.Helper()
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
		if err != nil || result.RequeueAfter != wantAgain {
			t.Errorf("due again after %s, want %s: %v", result.RequeueAfter, wantAgain, err)
		}
		if diff := cmp.Diff(want, revoked(t, c, r)); diff != "" {
			t.Errorf("the document revokes (-want +got):\n%s", diff)
		}
	}
	reconciled(2*time.Hour, "first", "lasting")
	clock.SetTime(created.Add(time.Hour))
	reconciled(time.Hour, "first", "lasting")
	clock.SetTime(created.Add(2 * time.Hour))
	reconciled(0, "lasting")
	if err := c.Delete(t.Context(), lasting); err != nil {
		t.Fatal(err)
	}
	reconciled(0)
}

// TestRevocationsReachTheLastDocument checks that a revocation is added to the last document of an invalid or deleted policy.
func TestRevocationsReachTheLastDocument(t *testing.T) {
	broken := unreconciled()
	trusting(broken[2].(*v1alpha1.SecurityPolicy), v1alpha1.JWKS{Inline: "no JSON"})
	pod := bound("Running")
	pod.Labels = map[string]string{"app": "orders"}
	successor := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: "orders-v2"}}
	for title, objects := range map[string][]client.Object{
		"the policy is invalid":                               broken,
		"the policy is deleted, and another selects its pods": {pod, successor},
	} {
		t.Run(title, func(t *testing.T) {
			cm := stored(t, created)
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(objects, tokenRevocation("r", "j"))...).
				WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
			r := newTestReconciler(c, clocktesting.NewFakePassiveClock(created))
			d := first(r.open(cm, name))
			d.policy.Providers = []compiled.Provider{{Name: "corp", Issuer: "https://corp", Audiences: []string{"shop"}, Algorithms: []string{"RS256"}, Keys: compiled.Keys{Inline: []byte("{}")}}}
			if _, err := r.write(t.Context(), &observation{name: name}, d.policy, nil); err != nil {
				t.Fatal(err)
			}
			before := r.revisions.last(name)
			for range 2 {
				if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
					t.Fatal(err)
				}
			}
			if got := revoked(t, c, r); !slices.Equal(got, []string{"r"}) || r.revisions.last(name) != before+1 {
				t.Errorf("the document revokes %v at revision %d after %d", got, r.revisions.last(name), before)
			}
		})
	}
}

// TestRevocationConcerns checks that a revocation triggers a reconcile of every policy of its namespace, and of deleted policies
// whose documents still exist.
func TestRevocationConcerns(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(
		stored(t, created),
		&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: "accounts"}},
		&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "accounts"}},
	).Build()
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	r := newTestReconciler(c, clocktesting.NewFakePassiveClock(created))
	h := gathering(newSpacing(0, 0, r.cfg.Clock), r.ofRevocation)
	old := tokenRevocation("r", "j")
	changed := old.DeepCopy()
	changed.Labels = map[string]string{"x": "y"}
	h.Update(context.Background(), event.UpdateEvent{ObjectOld: old, ObjectNew: changed}, q)
	got := []string{}
	for q.Len() > 0 {
		request, _ := q.Get()
		got = append(got, request.String())
		q.Done(request)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"shop/accounts", "shop/orders"}, got); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
}

func TestSooner(t *testing.T) {
	tests := map[string]struct{ a, b, want time.Duration }{
		"never":           {0, 0, 0},
		"only the first":  {0, 2, 2},
		"only the second": {2, 0, 2},
		"the shorter":     {3, 2, 2},
	}
	for title, tt := range tests {
		if got := sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %d, want %d", title, got, tt.want)
		}
	}
}
