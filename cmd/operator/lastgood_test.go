package main

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// floorOf returns the floor in the sidecar's environment, or 0 if there is none.
func floorOf(t *testing.T, pod *corev1.Pod) int64 {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		if c.Name != render.SidecarName {
			continue
		}
		for _, e := range c.Env {
			if e.Name == compiled.EnvDocumentFloor {
				floor, err := strconv.ParseInt(e.Value, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return floor
			}
		}
		return 0
	}
	t.Fatalf("pod %s has no sidecar", pod.Name)
	return 0
}

// TestLastGoodDocument checks that an edit that cannot be compiled does not replace the document, that new pods run the previous
// document, and that an older document that is put back while no operator runs is below the floor of every new pod.
func TestLastGoodDocument(t *testing.T) {
	stop := startOperator(t)
	ns := newNamespace(t, "lastgood", enabled())
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	old, err := configMapOf(t, ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	change(t, policy, func(p *v1alpha1.SecurityPolicy) { p.Spec.Headers.Preset = v1alpha1.PresetAPI })
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	good, err := configMapOf(t, ns, "orders")
	if err != nil {
		t.Fatal(err)
	}

	spoil := func(p *v1alpha1.SecurityPolicy) {
		p.Spec.Ports = []v1alpha1.Port{{Port: intstr.FromInt32(int32(compiled.AdminPort))}} // the CRD accepts it
	}
	stop() // the validating webhook would reject it; while it is down, the status reports it
	change(t, policy, spoil)
	stop = startOperator(t)
	c := wantCondition(t, policy, v1alpha1.ConditionAccepted, no, v1alpha1.ReasonInvalid)
	revision := policyNow(t, policy).Status.Revision
	if want := "All pods, including new ones, run the last good document: revision " + strconv.FormatInt(revision, 10); !strings.Contains(c.Message, want) {
		t.Errorf("Accepted says %q, want %q in it", c.Message, want)
	}
	if now, err := configMapOf(t, ns, "orders"); err != nil || now.Data[compiled.DocumentKey] != good.Data[compiled.DocumentKey] {
		t.Errorf("the document is no longer the last good one: %v", err)
	}
	pod := newPod(ns, "orders-1", "orders")
	create(t, pod)
	if got := floorOf(t, pod); got != revision || got == 0 {
		t.Errorf("the pod's floor is %d, want %d", got, revision)
	}

	stop()
	change(t, good, func(cm *corev1.ConfigMap) { cm.Data = old.Data })
	change(t, policy, func(p *v1alpha1.SecurityPolicy) { p.Spec.Ports = nil })
	startOperator(t)
	late := newPod(ns, "orders-2", "orders")
	create(t, late)
	if got := floorOf(t, late); got < revision {
		t.Errorf("the pod's floor is %d: it accepts a document that is older than revision %d", got, revision)
	}
	eventually(t, "the document that was put back is replaced", func() error {
		p := policyNow(t, policy)
		if p.Status.Revision > revision && p.Status.ObservedGeneration == p.Generation {
			return nil
		}
		return errors.New("not yet")
	})
}

func policyNow(t *testing.T, policy *v1alpha1.SecurityPolicy) *v1alpha1.SecurityPolicy {
	t.Helper()
	now := &v1alpha1.SecurityPolicy{}
	if err := shared.Get(t.Context(), client.ObjectKeyFromObject(policy), now); err != nil {
		t.Fatal(err)
	}
	return now
}
