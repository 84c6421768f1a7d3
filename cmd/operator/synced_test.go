package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// applied applies a manifest as Argo CD and Flux do, by server-side apply, and returns the object as the API server stores it.
func applied(t *testing.T, manifest string, options ...client.ApplyOption) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatal(err)
	}
	if err := shared.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), append(options, client.FieldOwner("argocd-controller"))...); err != nil {
		t.Fatal(err)
	}
	return object
}

// unsynced removes what changes without a change of the manifest: the status, and what the API server counts.
func unsynced(object *unstructured.Unstructured) map[string]any {
	object = object.DeepCopy()
	delete(object.Object, "status")
	object.SetManagedFields(nil)
	object.SetResourceVersion("")
	return object.Object
}

// TestAppliedObjectsStaySynced: the operator writes nothing of a class and a policy but their status, so that what was applied stays
// what is stored.
func TestAppliedObjectsStaySynced(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "synced", enabled())
	class := fmt.Sprintf(`{apiVersion: postern.dev/v1alpha1, kind: SidecarClass, metadata: {name: %s}, spec: {
  vault: {address: "https://vault.example.com:8200", auth: {kubernetes: {role: r}}}, resources: {limits: {cpu: 1, memory: 0.5Gi}}}}`, ns)
	policy := fmt.Sprintf(`{apiVersion: postern.dev/v1alpha1, kind: SecurityPolicy, metadata: {name: orders, namespace: %s}, spec: {
  selector: {matchLabels: {app: orders}}, sidecarClassName: %s, ports: [{port: 8080}],
  jwt: {providers: [{name: a, issuer: "https://a.example", audiences: [x], algorithms: [HS256], maxLifetime: 60m, jwks: {vault: {path: secret/a, key: k}}}]},
  rateLimits: [{name: all, limit: 60/1m}]}}`, ns, ns)
	before := map[string]*unstructured.Unstructured{class: applied(t, class), policy: applied(t, policy)}
	wantCondition(t, newPolicy(ns, "orders", "orders"), v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonProgrammed)
	for manifest, first := range before {
		live := applied(t, manifest, client.DryRunAll)
		if diff := cmp.Diff(unsynced(first), unsynced(live)); diff != "" {
			t.Errorf("%s changed: %s", first.GetKind(), diff)
		}
		for _, entry := range live.GetManagedFields() {
			if entry.Manager != "argocd-controller" && entry.Subresource != "status" {
				t.Errorf("%s: %s owns fields besides the status: %s", first.GetKind(), entry.Manager, entry.FieldsV1.GetRawString())
			}
			if entry.Manager == "argocd-controller" && strings.Contains(entry.FieldsV1.GetRawString(), "f:status") {
				t.Errorf("%s: the applied fields have a status: %s", first.GetKind(), entry.FieldsV1.GetRawString())
			}
		}
	}
}
