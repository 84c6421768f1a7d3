package charts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/certs"
)

// TestServerSideApplyIsStable applies the chart as Argo CD, Flux and helm do, lets the operator write what it writes into the
// chart's objects, and applies the unchanged chart again without force: there is no conflict, and no object changes.
func TestServerSideApplyIsStable(t *testing.T) {
	removeCRDs(t)
	// Hooks are applied by helm alone. The password of the bundled Redis is generated again if there is no cluster: see the README.
	helm := []string{"helm", "template", release, chart, "--no-hooks", "--set", "redis.bundled.existingSecret=redis", "--values"}
	for name, command := range map[string][]string{
		"the chart":             append(slices.Clone(helm), filepath.Join(chart, "ci", "minimal.yaml")),
		"the chart, all values": append(slices.Clone(helm), filepath.Join(chart, "ci", "platform.yaml")),
		"the kustomization":     {"kubectl", "kustomize", filepath.Join("..", "config", "default")},
	} {
		t.Run(name, func(t *testing.T) {
			objects := decode(t, run(t, command[0], command[1:]...))
			objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
			defer deleteAll(t, objects)
			apply(t, "deployer", objects)
			operatorWrites(t)
			before := stored(t, objects)
			if bundle := at(t, read(t, objects), "MutatingWebhookConfiguration", "postern", "webhooks"); !bytes.Contains(mustJSON(t, bundle), []byte(`"caBundle"`)) {
				t.Fatal("the operator did not write the caBundle")
			}
			apply(t, "deployer", objects)
			operatorWrites(t)
			if after := stored(t, objects); !maps.Equal(before, after) {
				for name, version := range after {
					if before[name] != version {
						t.Errorf("%s changes with an unchanged chart:\n%s\nwas\n%s", name, version, before[name])
					}
				}
			}
			// Another tool may take over, for example from helm to Argo CD.
			apply(t, "other-deployer", objects)
		})
	}
}

// operatorWrites writes certificates, keys and the caBundle with the operator's own code.
func operatorWrites(t *testing.T) {
	t.Helper()
	c, err := client.NewWithWatch(restConfig(t), client.Options{FieldOwner: "postern-operator"})
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := certs.NewKeeper(certs.Config{
		Client: c, Mode: certs.Own, Secret: types.NamespacedName{Namespace: namespace, Name: "postern-certs"}, Now: time.Now,
		DNSNames: []string{"postern-operator." + namespace + ".svc"}, Webhook: "postern", Validating: "postern",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// apply applies the objects without force, so that a conflict is an error.
func apply(t *testing.T, owner string, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		if err := shared.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(owner)); err != nil {
			t.Errorf("applying %s %s as %s: %v", o.GetKind(), o.GetName(), owner, err)
		}
	}
}

// read returns the objects as the API server has them.
func read(t *testing.T, objects []*unstructured.Unstructured) (out []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		got := &unstructured.Unstructured{}
		got.SetGroupVersionKind(o.GroupVersionKind())
		get(t, o.GetNamespace(), o.GetName(), got)
		out = append(out, got)
	}
	return out
}

// stored returns the content of each object, without status, which controllers of the API server write.
func stored(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, o := range read(t, objects) {
		delete(o.Object, "status")
		if o.GetKind() == "CustomResourceDefinition" {
			o.SetResourceVersion("") // these change with its status
			o.SetManagedFields(nil)
		}
		out[fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())] = string(mustJSON(t, o.Object))
	}
	return out
}

func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func deleteAll(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objects {
		if err := shared.Delete(t.Context(), o); client.IgnoreNotFound(err) != nil {
			t.Errorf("deleting %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	removeCRDs(t)
}
