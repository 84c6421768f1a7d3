package v1alpha1_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// manifests returns the samples, and every spec of the validation table that is accepted, by name.
func manifests(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	add := func(name string, document []byte) {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			t.Fatal(err)
		}
		if object.GetKind() != "SidecarClass" && object.Object != nil {
			object.SetNamespace("default")
		}
		object.SetName(fmt.Sprintf("synced-%d", len(all)))
		all[name] = object
	}
	samples, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, path := range samples {
		if filepath.Base(path) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for i := 0; ; i++ {
			document, err := reader.Read()
			if err != nil {
				break
			}
			if strings.Contains(string(document), "apiVersion: postern.dev") {
				add(fmt.Sprintf("%s %d", filepath.Base(path), i), document)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(validations)) {
		if v := validations[name]; v.wantErr == "" {
			add(name, []byte(v.manifest(0)))
		}
	}
	return all
}

// TestStoredIsWhatWasApplied: the API server stores a spec as it was applied, so that GitOps tools that compare the two, such as Argo
// CD, report it as in sync: nothing is defaulted, normalised or removed, and applying it again changes nothing.
func TestStoredIsWhatWasApplied(t *testing.T) {
	c := apiServer(t)
	apply := func(object *unstructured.Unstructured, options ...client.ApplyOption) (*unstructured.Unstructured, error) {
		applied := object.DeepCopy()
		err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), append(options, client.FieldOwner("argocd-controller"))...)
		return applied, err
	}
	for name, object := range manifests(t) {
		t.Run(name, func(t *testing.T) {
			live, err := apply(object)
			if err != nil {
				t.Fatal(err)
			}
			remove(t, c, live)
			if diff := cmp.Diff(normal(t, object.Object["spec"]), normal(t, live.Object["spec"])); diff != "" {
				t.Errorf("the stored spec differs from the applied one: %s", diff)
			}
			// The default, for kstatus, is all that there is before the operator's: tools compare no status.
			if diff := cmp.Diff(map[string]any{"observedGeneration": -1.0}, normal(t, live.Object["status"])); diff != "" {
				t.Errorf("it was created with another status: %s", diff)
			}
			again, err := apply(object, client.DryRunAll)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(live.Object, again.Object); diff != "" {
				t.Errorf("applying it again would change it: %s", diff)
			}
		})
	}
}

// normal writes a value as JSON and reads it again, so that numbers have one type.
func normal(t *testing.T, v any) any {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := yaml.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
