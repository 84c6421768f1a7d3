package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/rollout"
)

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

// TestPolicyToPod follows one policy: to the document, into a pod, to the condition Enforced, through a change, to its
// deletion.
func TestPolicyToPod(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "whole", nil)
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	c := wantCondition(t, policy, v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonInjectionDisabled)
	if want := "kubectl label namespace " + ns + " postern.dev/injection=enabled"; !strings.Contains(c.Message, want) {
		t.Errorf("Programmed says %q, want %q in it", c.Message, want)
	}
	outside := newPod(ns, "early", "orders")
	create(t, outside)
	change(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, func(n *corev1.Namespace) {
		n.Labels[v1alpha1.InjectionLabel] = v1alpha1.InjectionLabelEnabled
	})
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	wantCondition(t, policy, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsWithoutSidecar)
	if err := shared.Delete(t.Context(), outside, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	wantCondition(t, policy, v1alpha1.ConditionEnforced, unknown, v1alpha1.ReasonNoPods)

	pod := newPod(ns, "orders-1", "orders")
	create(t, pod)
	s, token := sidecarOf(t, pod), tokenOf(t, ns, pod, compiled.OperatorAudience)
	wantCondition(t, policy, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsOutdated)
	hash, document := s.await(t, token, compiled.Report{SchemaVersion: 1})
	if document.Name != "orders" || document.Headers == nil || document.Headers.Preset != "Strict" {
		t.Errorf("the document is %+v", document)
	}

	held := make(chan string, 1)
	go func() {
		next, _ := s.await(t, token, compiled.Report{SchemaVersion: 1, Hash: hash})
		held <- next
	}()
	wantCondition(t, policy, v1alpha1.ConditionEnforced, yes, v1alpha1.ReasonEnforced)
	change(t, policy, func(p *v1alpha1.SecurityPolicy) { p.Spec.Headers.Preset = v1alpha1.PresetAPI })
	changed := time.Now()
	next := <-held
	t.Logf("a held poll returned the changed document after %s", time.Since(changed))
	wantCondition(t, policy, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsOutdated)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _, _ = s.poll(ctx, token, "", compiled.Report{SchemaVersion: 1, Hash: next, Reachable: []string{"0.0.0.0:9"}})
	}()
	wantCondition(t, policy, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonReachableAround)
	cancel()

	if err := shared.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	if _, last := s.await(t, token, compiled.Report{SchemaVersion: 1, Hash: next}); !last.Deleted || last.Revision <= document.Revision {
		t.Errorf("the last document is %+v", last)
	}
	wantEvents(t, ns, v1alpha1.ReasonInjectionDisabled, v1alpha1.ReasonEnforced, v1alpha1.ReasonReachableAround)
}

func wantEvents(t *testing.T, namespace string, reasons ...string) {
	t.Helper()
	for _, reason := range reasons {
		eventually(t, "there is an event "+reason, func() error {
			list := &eventsv1.EventList{}
			if err := shared.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
				return err
			}
			for _, e := range list.Items {
				if e.Reason == reason {
					return nil
				}
			}
			return fmt.Errorf("there are %d others", len(list.Items))
		})
	}
}

// TestPollIsRefused polls with everything except a valid token.
func TestPollIsRefused(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "refused", enabled())
	mine, other := newPolicy(ns, "mine", "mine"), newPolicy(ns, "other", "other")
	create(t, mine)
	create(t, other)
	pod := newPod(ns, "mine-1", "mine")
	create(t, pod)
	plain := newPod(ns, "plain", "plain")
	create(t, plain)
	deleted := newPod(ns, "deleted", "mine")
	create(t, deleted)
	s := sidecarOf(t, pod)
	right := tokenOf(t, ns, pod, compiled.OperatorAudience)
	deletedToken := tokenOf(t, ns, deleted, compiled.OperatorAudience)
	s.await(t, deletedToken, compiled.Report{})
	if err := shared.Delete(t.Context(), deleted, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deleted pod's token is refused", func() error {
		code, _, err := s.poll(t.Context(), deletedToken, "", compiled.Report{})
		if err == nil && code != http.StatusUnauthorized {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})

	tests := map[string]struct {
		token    string
		suffix   string
		report   any
		wantCode int
	}{
		"no token":            {wantCode: http.StatusUnauthorized},
		"not a JWT":           {token: "x", wantCode: http.StatusUnauthorized},
		"tampered":            {token: right[:len(right)-8] + "AAAAAAAA", wantCode: http.StatusUnauthorized},
		"signed by another":   {token: forged(t, pod), wantCode: http.StatusUnauthorized},
		"expired":             {token: expired(t, right), wantCode: http.StatusUnauthorized},
		"wrong audience":      {token: tokenOf(t, ns, pod, "vault"), wantCode: http.StatusUnauthorized},
		"without a pod":       {token: tokenOf(t, ns, nil, compiled.OperatorAudience), wantCode: http.StatusUnauthorized},
		"pod without sidecar": {token: tokenOf(t, ns, plain, compiled.OperatorAudience), wantCode: http.StatusForbidden},
		"another path":        {token: right, suffix: "/other", wantCode: http.StatusNotFound},
		"malformed report":    {token: right, report: "x", wantCode: http.StatusBadRequest},
		"report too large":    {token: right, report: compiled.Report{Error: strings.Repeat("x", compiled.MaxReportSize)}, wantCode: http.StatusBadRequest},
		"text too long":       {token: right, report: compiled.Report{Error: strings.Repeat("x", 600)}, wantCode: http.StatusBadRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			report := tt.report
			if report == nil {
				report = compiled.Report{}
			}
			code, body, err := s.poll(t.Context(), tt.token, tt.suffix, report)
			if err != nil || code != tt.wantCode {
				t.Errorf("the response is %d %q (%v), want %d", code, body, err, tt.wantCode)
			}
		})
	}
	t.Run("another policy's document", func(t *testing.T) {
		wrong := map[string]any{"policy": "other", "name": "other", "namespace": ns, "schemaVersion": 1}
		change(t, pod, func(p *corev1.Pod) { p.Annotations[render.PolicyAnnotation], p.Labels["app"] = "other", "other" })
		eventually(t, "the document is the pod's own", func() error {
			code, body, err := s.poll(t.Context(), right, "?policy=other&name=other", wrong)
			if err != nil || code != http.StatusOK {
				return fmt.Errorf("status %d: %w", code, err)
			}
			if got := nameIn(t, s, body); got != "mine" {
				t.Errorf("the document is of policy %q", got)
			}
			return nil
		})
	})
}

// forged returns a token of the pod that is signed with another key.
func forged(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": "https://kubernetes.default.svc", "aud": []string{compiled.OperatorAudience}, "sub": "system:serviceaccount:" + pod.Namespace + ":app",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"kubernetes.io": map[string]any{"namespace": pod.Namespace, "pod": map[string]any{"name": pod.Name, "uid": pod.UID},
			"serviceaccount": map[string]any{"name": "app"}},
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("the public key, as an HMAC secret"))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// expired returns the genuine token with an expiry in the past, signed with the API server's key.
func expired(t *testing.T, genuine string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(genuine, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(shared.Dir, "sa-signer.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(pem)
	if err != nil {
		t.Fatal(err)
	}
	claims := parsed.Claims.(jwt.MapClaims)
	claims["exp"] = time.Now().Add(-time.Minute).Unix()
	claims["iat"], claims["nbf"] = time.Now().Add(-time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	again := jwt.NewWithClaims(parsed.Method, claims)
	again.Header["kid"] = parsed.Header["kid"]
	token, err := again.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestDocumentIsRestored(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "edited", enabled())
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	cm, err := configMapOf(t, ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	good := cm.DeepCopy()
	edits := map[string]func(*corev1.ConfigMap){
		"another document": func(c *corev1.ConfigMap) {
			c.Data[compiled.DocumentKey] = strings.Replace(c.Data[compiled.DocumentKey], `"Strict"`, `"None"`, 1)
		},
		"no signature":          func(c *corev1.ConfigMap) { delete(c.Data, compiled.SignatureKey) },
		"no label":              func(c *corev1.ConfigMap) { c.Labels = nil },
		"another label":         func(c *corev1.ConfigMap) { c.Labels[render.PolicyLabel] = "other" },
		"more data":             func(c *corev1.ConfigMap) { c.Data["x"] = "y" },
		"made immutable":        func(c *corev1.ConfigMap) { c.Immutable = ptr.To(true) },
		"the previous document": func(c *corev1.ConfigMap) { c.Data = good.Data },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			change(t, cm, edit)
			wantRestored(t, cm)
		})
	}
	t.Run("deleted", func(t *testing.T) {
		if err := shared.Delete(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		wantRestored(t, cm)
	})
}

// wantRestored waits until the ConfigMap holds the policy's document, with a revision that is not lower than any earlier one.
func wantRestored(t *testing.T, cm *corev1.ConfigMap) {
	t.Helper()
	secret := &corev1.Secret{}
	if err := shared.Get(t.Context(), types.NamespacedName{Namespace: operatorNamespace, Name: "postern-signing-key"}, secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ConfigMap is restored", func() error {
		now := &corev1.ConfigMap{}
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(cm), now); err != nil {
			return err
		}
		signed, _, err := render.Signed(now, 1)
		if err != nil {
			return err
		}
		p, err := signed.Open(publicOf(t, secret))
		if err != nil {
			return err
		}
		if p.Headers.Preset != "Strict" || len(now.Data) != 2 || now.Labels[render.PolicyLabel] != p.Name || ptr.Deref(now.Immutable, false) {
			return errors.New("it is not as the operator writes it")
		}
		if p.Revision < highest[cm.Namespace] {
			return fmt.Errorf("revision %d is lower than %d", p.Revision, highest[cm.Namespace])
		}
		highest[cm.Namespace] = p.Revision
		return nil
	})
}

func TestPolicyIsDeletedWithoutOperator(t *testing.T) {
	stop := startOperator(t)
	ns := newNamespace(t, "away", enabled())
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	stop()
	if err := shared.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	startOperator(t)
	eventually(t, "there is a tombstone", func() error {
		cm, err := configMapOf(t, ns, "orders")
		if err != nil {
			return err
		}
		if !strings.Contains(cm.Data[compiled.DocumentKey], `"deleted": true`) {
			return errors.New("the document is not a tombstone")
		}
		return nil
	})
}

func TestPoliciesWithErrors(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "trouble", enabled())
	older := newPolicy(ns, "a-older", "orders")
	create(t, older)
	pod := newPod(ns, "orders-1", "orders")
	create(t, pod)
	wantCondition(t, older, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsOutdated)

	younger := newPolicy(ns, "b-younger", "orders")
	create(t, younger)
	c := wantCondition(t, younger, v1alpha1.ConditionAccepted, no, v1alpha1.ReasonConflicted)
	if !strings.Contains(c.Message, `"a-older"`) || !strings.Contains(c.Message, `"orders-1"`) {
		t.Errorf("Accepted says %q", c.Message)
	}
	wantCondition(t, younger, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
	wantCondition(t, younger, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonConflicted)
	change(t, older, func(p *v1alpha1.SecurityPolicy) { p.Spec.Selector.MatchLabels["app"] = "others" })
	wantCondition(t, younger, v1alpha1.ConditionAccepted, yes, v1alpha1.ReasonAccepted)
	c = wantCondition(t, younger, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsOutdated)
	if !strings.Contains(c.Message, "delete the pod") {
		t.Errorf("Enforced says %q", c.Message)
	}

	change(t, younger, func(p *v1alpha1.SecurityPolicy) { p.Spec.SidecarClassName = &ns })
	wantCondition(t, younger, v1alpha1.ConditionAccepted, no, v1alpha1.ReasonClassNotFound)
	wantCondition(t, younger, v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonNotAccepted)
	if cm, err := configMapOf(t, ns, "b-younger"); err != nil || cm.Data[compiled.DocumentKey] == "" {
		t.Errorf("the last good document is missing: %v", err)
	}
	create(t, &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	wantCondition(t, younger, v1alpha1.ConditionAccepted, yes, v1alpha1.ReasonAccepted)
}

// TestConfigMapOfOthers checks that a ConfigMap that is not Postern's is kept, and that the document is written when it is deleted.
func TestConfigMapOfOthers(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "taken", enabled())
	theirs := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: render.ConfigMapName("orders")}, Data: map[string]string{"theirs": "1"},
	}
	create(t, theirs)
	policy := newPolicy(ns, "orders", "orders")
	create(t, policy)
	c := wantCondition(t, policy, v1alpha1.ConditionProgrammed, no, v1alpha1.ReasonPending)
	if cm, err := configMapOf(t, ns, "orders"); err != nil || cm.Data["theirs"] != "1" || len(cm.Labels) > 0 {
		t.Errorf("the ConfigMap is %v, %v", cm, err)
	}
	if !strings.Contains(c.Message, "does not belong to Postern") {
		t.Errorf("Programmed says %q", c.Message)
	}
	if err := shared.Delete(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	wantCondition(t, policy, v1alpha1.ConditionProgrammed, yes, v1alpha1.ReasonProgrammed)
}

func TestAutomaticRollout(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "rolled", nil)
	labels := map[string]string{"app": "orders"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "orders"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: newPod("", "", "").Spec},
		},
	}
	create(t, deployment)
	deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1, ReadyReplicas: 1}
	if err := shared.Status().Update(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	pod := newPod(ns, "orders-5d-x", "orders")
	pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = "5d"
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "orders-5d", UID: "x", Controller: ptr.To(true)}}
	create(t, pod)
	change(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, func(n *corev1.Namespace) {
		n.Labels[v1alpha1.InjectionLabel] = v1alpha1.InjectionLabelEnabled
	})
	policy := newPolicy(ns, "orders", "orders")
	policy.Spec.Rollout = v1alpha1.RolloutAutomatic
	create(t, policy)
	eventually(t, "the deployment is restarted", func() error {
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
			return err
		}
		if deployment.Spec.Template.Annotations[rollout.RestartedAtAnnotation] == "" {
			return errors.New("its template is unchanged")
		}
		return nil
	})
	wantEvents(t, ns, "Restarted")
	c := wantCondition(t, policy, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsWithoutSidecar)
	if !strings.Contains(c.Message, "deployment/orders") {
		t.Errorf("Enforced says %q", c.Message)
	}
}

func TestCertificatesAreRestored(t *testing.T) {
	startOperator(t)
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "postern"}}
	change(t, config, func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].ClientConfig.CABundle = nil })
	eventually(t, "the webhook's CA is back", func() error {
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(config), config); err != nil {
			return err
		}
		if len(config.Webhooks[0].ClientConfig.CABundle) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "postern-certs"}}
	change(t, secret, func(s *corev1.Secret) { delete(s.Data, "tls.crt") })
	eventually(t, "there is a certificate again", func() error {
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		if len(secret.Data["tls.crt"]) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// TestReportIsBoundToPod checks that a report cannot change a later pod with the same name.
func TestReportIsBoundToPod(t *testing.T) {
	ns := newNamespace(t, "successor", nil)
	pod := newPod(ns, "orders-1", "orders")
	create(t, pod)
	patch := []byte(`{"metadata":{"uid":"another"},"status":{"conditions":[{"type":"` + string(deliver.ConditionSidecar) + `","status":"True"}]}}`)
	err := shared.Status().Patch(t.Context(), pod, client.RawPatch(types.StrategicMergePatchType, patch))
	if !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
		t.Errorf("the patch returns %v", err)
	}
}
