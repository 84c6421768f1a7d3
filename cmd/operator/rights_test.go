package main

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestWithoutTokenReviews takes the right away without which no sidecar can identify itself, and gives it back.
func TestWithoutTokenReviews(t *testing.T) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "postern-operator"}}
	var removed []rbacv1.PolicyRule
	isReviews := func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "tokenreviews") }
	change(t, role, func(role *rbacv1.ClusterRole) {
		removed = slices.DeleteFunc(slices.Clone(role.Rules), func(r rbacv1.PolicyRule) bool { return !isReviews(r) })
		role.Rules = slices.DeleteFunc(role.Rules, isReviews)
	})
	restored := false
	restore := func() {
		if !restored {
			restored = true
			change(t, role, func(role *rbacv1.ClusterRole) { role.Rules = append(role.Rules, removed...) })
		}
	}
	defer restore()
	if len(removed) != 1 {
		t.Fatalf("the role has %d rules about tokenreviews", len(removed))
	}
	startOperator(t)
	policy := newPolicy(newNamespace(t, "rights", enabled()), "orders", "orders")
	create(t, policy)
	c := wantCondition(t, policy, v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonMissingRights)
	if !strings.Contains(c.Message, "create tokenreviews.authentication.k8s.io") {
		t.Errorf("the message is %q", c.Message)
	}
	wantCondition(t, policy, v1alpha1.ConditionReady, no, v1alpha1.ReasonMissingRights)
	restore()
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
}
