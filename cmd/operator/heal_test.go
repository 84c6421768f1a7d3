package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

func certificates(t *testing.T) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{}
	if err := shared.Get(t.Context(), client.ObjectKey{Namespace: operatorNamespace, Name: "postern-certs"}, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDeletedSecretHeals deletes the Secret of the certificates under the operator's own permissions.
func TestDeletedSecretHeals(t *testing.T) {
	startOperator(t)
	before := certificates(t)
	if err := shared.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Secret is back", func() error {
		now := &corev1.Secret{}
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(before), now); err != nil {
			return err
		}
		if !bytes.Equal(now.Data["ca.crt"], before.Data["ca.crt"]) || !bytes.Equal(now.Data["ca.key"], before.Data["ca.key"]) {
			return errors.New("it has another CA")
		}
		return nil
	})
}

// TestMissingWebhookIsReported deletes the webhook's configuration and restores it. The statuses follow without any other change.
func TestMissingWebhookIsReported(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "missing", map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled})
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	if err := shared.Delete(t.Context(), shared.PodWebhook()); err != nil {
		t.Fatal(err)
	}
	c := wantCondition(t, policy, v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonWebhookMissing)
	create(t, shared.PodWebhook())
	if !strings.Contains(c.Message, `MutatingWebhookConfiguration "postern" is missing: restore it with helm upgrade`) {
		t.Errorf("Programmed says %q", c.Message)
	}
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
}

// TestLostCANeedsARestart removes the CA's key, so that the next CA has no bridge from the old one. Policies are looked at again at once,
// and name the pods that do not trust the operator any more.
func TestLostCANeedsARestart(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "rotated", map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled})
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	eventually(t, "the pod is created", func() error { // the API server gets the CA shortly after
		return shared.Create(t.Context(), newPod(ns, "orders-1", "orders"))
	})
	wantOffender := func(text string) {
		t.Helper()
		eventually(t, "the status says "+text, func() error {
			now := policyNow(t, policy)
			if now.Status.Pods == nil || len(now.Status.Pods.Offenders) != 1 || !strings.Contains(now.Status.Pods.Offenders[0].Message, text) {
				return fmt.Errorf("the pods are %+v", now.Status.Pods)
			}
			return nil
		})
	}
	wantOffender("has not reported yet")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "postern-certs"}}
	change(t, secret, func(s *corev1.Secret) { delete(s.Data, "ca.key") })
	wantOffender("settings that change only with a restart")
}
