package charts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// flags disable hooks, because without controllers no Job ends.
var flags = []string{"--no-hooks", "--set", "redis.bundled.enabled=true", "--set", "redis.bundled.workloadNamespaces={shop}"}

// TestInstallUpgradeUninstall checks that the state that running sidecars depend on is kept over upgrades, a rollback and a
// reinstallation.
func TestInstallUpgradeUninstall(t *testing.T) {
	removeCRDs(t)
	helm := func(args ...string) { t.Helper(); run(t, "helm", args...) }
	helm(append([]string{"install", release, chart}, flags...)...)
	writeOperatorState(t)
	want := keptState(t)

	t.Run("upgrades", func(t *testing.T) {
		for i := range 2 {
			helm(append([]string{"upgrade", release, chart, "--set", fmt.Sprintf("replicas=%d", 3+i)}, flags...)...)
			if got := keptState(t); !maps.Equal(got, want) {
				t.Fatalf("after upgrade %d: got %v, want %v", i+1, keys(got), keys(want))
			}
		}
		deployment := &appsv1.Deployment{}
		get(t, namespace, "postern-operator", deployment)
		if *deployment.Spec.Replicas != 4 {
			t.Errorf("got %d replicas, want those of the last upgrade", *deployment.Spec.Replicas)
		}
	})
	t.Run("rollback", func(t *testing.T) {
		helm("rollback", release, "1", "--no-hooks")
		if got := keptState(t); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", keys(got), keys(want))
		}
	})
	t.Run("uninstallation", func(t *testing.T) {
		helm("uninstall", release, "--no-hooks")
		err := shared.Get(t.Context(), client.ObjectKey{Name: "postern"}, &admissionv1.MutatingWebhookConfiguration{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("the webhook's configuration: got error %v, want not found", err)
		}
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		get(t, "", "securitypolicies.postern.dev", crd)
		if crd.GetDeletionTimestamp() != nil {
			t.Error("the CRD is being deleted")
		}
		for name, value := range secretState(t, namespace, "postern-signing-key", "postern-certs") {
			if value != want[name] {
				t.Errorf("%s is %q, want %q", name, value, want[name])
			}
		}
	})
	t.Run("reinstallation", func(t *testing.T) {
		helm(append([]string{"install", release, chart}, flags...)...)
		for name, value := range secretState(t, namespace, "postern-signing-key", "postern-certs") {
			if value != want[name] {
				t.Errorf("%s is %q, want %q", name, value, want[name])
			}
		}
	})
	helm("uninstall", release, "--no-hooks")
}

// writeOperatorState writes what the operator writes after an installation.
func writeOperatorState(t *testing.T) {
	t.Helper()
	for name, data := range map[string]map[string][]byte{
		"postern-signing-key": {"signing.key": []byte("key")},
		"postern-certs":       {"tls.crt": []byte("certificate"), "tls.key": []byte("its key"), "ca.crt": []byte("ca")},
	} {
		secret := &corev1.Secret{}
		get(t, namespace, name, secret)
		if len(secret.Data) > 0 {
			t.Errorf("Secret %s is created with data", name)
		}
		secret.Data = data
		if err := shared.Update(t.Context(), secret, client.FieldOwner("operator")); err != nil {
			t.Fatal(err)
		}
	}
	webhook := &admissionv1.MutatingWebhookConfiguration{}
	get(t, "", "postern", webhook)
	webhook.Webhooks[0].ClientConfig.CABundle = caBundle(t)
	validating := &admissionv1.ValidatingWebhookConfiguration{}
	get(t, "", "postern", validating)
	validating.Webhooks[0].ClientConfig.CABundle = caBundle(t)
	for _, o := range []client.Object{webhook, validating} {
		if err := shared.Update(t.Context(), o, client.FieldOwner("operator")); err != nil {
			t.Fatal(err)
		}
	}
}

// keptState returns the state that no upgrade may change.
func keptState(t *testing.T) map[string]string {
	t.Helper()
	state := secretState(t, namespace, "postern-signing-key", "postern-certs", "postern-redis")
	maps.Copy(state, secretState(t, "shop", "postern-redis"))
	if p := state[namespace+"/postern-redis"]; len(p) < 40 || p != state["shop/postern-redis"] {
		t.Errorf("Redis's password is %q, and %q in the workload's namespace", p, state["shop/postern-redis"])
	}
	webhook := &admissionv1.MutatingWebhookConfiguration{}
	get(t, "", "postern", webhook)
	if !bytes.Equal(webhook.Webhooks[0].ClientConfig.CABundle, caBundle(t)) {
		t.Errorf("the webhook's caBundle is %q", webhook.Webhooks[0].ClientConfig.CABundle)
	}
	validating := &admissionv1.ValidatingWebhookConfiguration{}
	get(t, "", "postern", validating)
	if !bytes.Equal(validating.Webhooks[0].ClientConfig.CABundle, caBundle(t)) {
		t.Errorf("the validating webhook's caBundle is %q", validating.Webhooks[0].ClientConfig.CABundle)
	}
	return state
}

func secretState(t *testing.T, namespace string, names ...string) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, name := range names {
		secret := &corev1.Secret{}
		get(t, namespace, name, secret)
		data, err := json.Marshal(secret.Data)
		if err != nil || len(secret.Data) == 0 {
			t.Errorf("Secret %s/%s is empty: %v", namespace, name, err)
		}
		state[namespace+"/"+name] = string(data)
	}
	return state
}

func keys(state map[string]string) (out []string) {
	for name, data := range state {
		out = append(out, fmt.Sprintf("%s: %d bytes", name, len(data)))
	}
	return out
}

func get(t *testing.T, namespace, name string, into client.Object) {
	t.Helper()
	if err := shared.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
		t.Fatal(err)
	}
}

// removeCRDs deletes CRDs that another test installed, so that helm can install its own.
func removeCRDs(t *testing.T) {
	t.Helper()
	for _, name := range []string{"securitypolicies.postern.dev", "sidecarclasses.postern.dev", "tokenrevocations.postern.dev"} {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		crd.SetName(name)
		if err := shared.Delete(t.Context(), crd); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		for shared.Get(t.Context(), client.ObjectKey{Name: name}, crd) == nil {
			select {
			case <-t.Context().Done():
				t.Fatal("the CRD is not deleted")
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

func restConfig(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// caBundle returns the API server's CA, because the API server accepts only certificates.
func caBundle(t *testing.T) []byte {
	t.Helper()
	config := restConfig(t)
	if len(config.CAData) > 0 {
		return config.CAData
	}
	b, err := os.ReadFile(filepath.Clean(config.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
