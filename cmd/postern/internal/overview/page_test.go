package overview

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/docpage"
)

// TestOperatingPage: docs/operating.md shows what postern status prints.
func TestOperatingPage(t *testing.T) {
	f := newFixture()
	f.policy.Spec.Authorization = &v1alpha1.Authorization{Rules: make([]v1alpha1.AuthorizationRule, 3)}
	f.in.Pods = append(f.in.Pods, *newPod("basket-7d8f9c-4m2xk", ""), *newPod("basket-7d8f9c-9qwzt", ""), *newPod("legacy-7d8f9c-x7vln", ""))
	basket := newPolicy("basket", "app", "basket")
	basket.Spec.LoginProtection = &v1alpha1.LoginProtection{}
	c := &basket.Status.Conditions[2]
	c.Status, c.Reason, c.LastTransitionTime = metav1.ConditionFalse, v1alpha1.ReasonPodsWithoutSidecar, metav1.NewTime(now.Add(-4*time.Minute))
	search := newPolicy("search", "app", "search")
	search.Spec.Mode, search.Spec.RateLimits = v1alpha1.ModeShadow, nil
	c = &search.Status.Conditions[2]
	c.Status, c.Reason, c.LastTransitionTime = metav1.ConditionFalse, v1alpha1.ReasonShadow, metav1.NewTime(now.Add(-9*24*time.Hour))
	f.in.Policies = []v1alpha1.SecurityPolicy{*basket, *search}
	in := f.input(t)
	pod := in.Pods[len(in.Pods)-1].DeepCopy() // that of orders, with its report
	for _, of := range []string{"search", "search"} {
		p := newPod(of+"-7d8f9c-"+[]string{"b5c7d", "h9t2p"}[len(in.Pods)%2], of)
		p.Status = pod.Status
		in.Pods = append(in.Pods, *p)
	}
	o := Of(in)
	options := Options{Where: "namespace shop", Now: now}
	docpage.Compare(t, "postern status -n shop", o.Text(options))
	one, err := o.Only("basket")
	if err != nil {
		t.Fatal(err)
	}
	options.Detail = true
	docpage.Compare(t, "postern status basket -n shop", one.Text(options))
}
