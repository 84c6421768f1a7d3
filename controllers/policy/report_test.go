package policy

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestReportAgainstAStaleCache checks that a status computed from an outdated object is never merged into a newer one.
func TestReportAgainstAStaleCache(t *testing.T) {
	policy := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(policy).WithStatusSubresource(policy).Build()
	cached, live := &v1alpha1.SecurityPolicy{}, &v1alpha1.SecurityPolicy{}
	for _, p := range []*v1alpha1.SecurityPolicy{cached, live} {
		if err := c.Get(t.Context(), name, p); err != nil {
			t.Fatal(err)
		}
	}
	live.Status.Pods = &v1alpha1.PodCounts{Matched: 1, Summary: "0/1"}
	if err := c.Status().Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	r := NewReconciler(Config{Client: c, Clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)), Events: events.NewFakeRecorder(8)})
	report := func(p *v1alpha1.SecurityPolicy) error {
		return r.report(t.Context(), &observation{name: name, policy: p}, &verdict{}, written{})
	}
	if err := report(cached); !apierrors.IsConflict(err) {
		t.Errorf("against a stale cache: %v, want a conflict", err)
	}
	if err := report(live); err != nil {
		t.Errorf("against a fresh cache: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(policy), live); err != nil || live.Status.Pods.Summary != "0/0" {
		t.Errorf("the status has %+v: %v", live.Status.Pods, err)
	}
}
