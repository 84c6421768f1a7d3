package main

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestRefusedPodsShow plays the ReplicaSet controller, whose pod a quota refuses. The message is the real API server's.
func TestRefusedPodsShow(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "refused", enabled())
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	pod := newPod(ns, "orders-5d-x", "orders")
	pod.Spec.HostNetwork = true
	err := shared.Create(t.Context(), pod)
	if err == nil {
		t.Fatal("the pod was accepted")
	}
	message, three := "Error creating: "+err.Error(), int32(3)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "orders-5d"},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: newPod(ns, "x", "orders").Spec},
		},
	}
	create(t, rs)
	failure := appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: message, LastTransitionTime: metav1.Now(),
	}
	rs.Status = appsv1.ReplicaSetStatus{Replicas: 1, Conditions: []appsv1.ReplicaSetCondition{failure}}
	if err := shared.Status().Update(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	create(t, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "orders-5d.1"}, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: message,
		InvolvedObject: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Namespace: ns, Name: rs.Name, UID: rs.UID},
	})
	c := wantCondition(t, policy, v1alpha1.ConditionPodsAdmitted, no, v1alpha1.ReasonPodsRefused)
	for _, want := range []string{"2 pods", "replicaset/orders-5d", "hostNetwork"} {
		if !strings.Contains(c.Message, want) {
			t.Errorf("the message %q lacks %q", c.Message, want)
		}
	}
	wantEvents(t, ns, v1alpha1.ReasonPodsRefused)
}
